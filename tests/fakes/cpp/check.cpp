// What the tests ask of parts of deploy/cpp: read JSON and write it again; hash a file; choose an engine; judge one.
#include <cstdio>
#include <string>

#include "bundle.h"
#include "files.h"
#include "json.h"
#include "plan_header.h"
#include "problem.h"
#include "sha256.h"

using namespace edgekd;

namespace {

std::string written(const Json& value) {
  std::string out;
  char number[32];
  switch (value.kind) {
    case Json::kNull: return "null";
    case Json::kBool: return value.truth ? "true" : "false";
    case Json::kNumber: return std::snprintf(number, sizeof number, "%.17g", value.number), number;
    case Json::kString: return quoted(value.text);
    case Json::kArray:
      for (const Json& item : value.items) out += (out.empty() ? "" : ",") + written(item);
      return "[" + out + "]";
    default:
      for (const auto& member : value.members) out += (out.empty() ? "" : ",") + quoted(member.first) + ":" + written(member.second);
      return "{" + out + "}";
  }
}

}  // namespace

int main(int, char** words) try {
  const std::string what = words[1];
  if (what == "json") {
    const std::string texts = read_file(words[2], "input", 1 << 30);  // separated by byte 0x1E
    for (size_t start = 0; start <= texts.size();) {
      const size_t end = std::min(texts.find('\x1e', start), texts.size());
      try {
        std::printf("%s\x1e", written(parse_json(texts.substr(start, end - start), "text")).c_str());
      } catch (const Problem& problem) {
        std::printf("refused: %s\x1e", problem.seen.c_str());
      }
      start = end + 1;
    }
  }
  if (what == "sha256") std::printf("%s", sha256(read_file(words[2], "input", 1 << 30)).c_str());
  if (what == "engine") std::printf("%s", Bundle(words[2]).engine_for(words[3], words[4]).c_str());
  if (what == "version") std::printf("%s", version_text(std::stoi(words[2])).c_str());
  return 0;
} catch (const Problem& problem) {
  std::printf("%s: %s", problem.code.c_str(), problem.what());
  return problem.exit_code();
}
