#include "cpu.h"

#include <sys/utsname.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

#include "files.h"

namespace edgekd {
namespace {

std::string architecture() {
  std::ifstream told(below_root("/proc/sys/kernel/arch"));
  std::string name;
  if (told >> name) return name;
  utsname system;
  return uname(&system) == 0 ? system.machine : "";
}

// Flags that every processor has.
std::set<std::string> flags() {
  std::ifstream cpuinfo(below_root("/proc/cpuinfo"));
  std::set<std::string> common;
  bool any = false;
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t", colon - 1) + 1);
    if (key != "flags" && key != "Features") continue;
    std::istringstream words(line.substr(colon + 1));
    std::set<std::string> found;
    for (std::string word; words >> word;)
      if (!any || common.count(word)) found.insert(word);
    common = found, any = true;
  }
  return common;
}

}  // namespace

bool needs_seven_bit_weights() {
  const std::string arch = architecture();
  const std::set<std::string> x86 = {"x86_64", "amd64", "AMD64", "i686", "i386"}, has = flags();
  return x86.count(arch) && !has.count("avx512_vnni") && !has.count("avx_vnni") && !has.count("amx_int8");
}

}  // namespace edgekd
