// What went wrong, told to a person: the same words, codes and exit statuses as the Python loader's.
#pragma once

#include <stdexcept>
#include <string>

namespace edgekd {

struct Problem : std::runtime_error {
  // code: input (2), environment (5), device (6), integrity (7). where, seen and fix may be empty.
  Problem(std::string code, const std::string& what, std::string where = "", std::string seen = "", std::string fix = "")
      : std::runtime_error(what), code(std::move(code)), where(std::move(where)), seen(std::move(seen)), fix(std::move(fix)) {}

  int exit_code() const { return code == "input" ? 2 : code == "environment" ? 5 : code == "device" ? 6 : code == "integrity" ? 7 : 1; }

  std::string code, where, seen, fix;
};

}  // namespace edgekd
