#include "plan_header.h"

#include "problem.h"

namespace edgekd {

void check_plan(const std::string& content, const std::string& path, const std::string& running) {
  const std::string fix = "build it on this device, from the files in the bundle's models/";
  if (content.compare(0, 4, "ftrt") != 0 || content.size() < 64) throw Problem("device", "this is no TensorRT engine, or it is cut short", path, "", fix);
  const auto byte = [&](size_t at) { return std::to_string(static_cast<unsigned char>(content[at])); };
  const std::string built_by = byte(24) + "." + byte(25) + "." + byte(26);
  if (static_cast<unsigned char>(content[24]) >= 10 && built_by != running)
    throw Problem("device", "the engine was built by another TensorRT than runs here", path, "built by " + built_by + ", here is " + running, fix);
}

std::string version_text(int number) {
  const int by = number >= 10000 ? 10000 : 1000;
  return std::to_string(number / by) + "." + std::to_string(number % by / 100) + "." + std::to_string(number % 100);
}

}  // namespace edgekd
