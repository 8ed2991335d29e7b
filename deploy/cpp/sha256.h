// SHA-256 (FIPS 180-4), so that the program needs no crypto library.
#pragma once

#include <string>

namespace edgekd {

// 64 hex digits.
std::string sha256(const std::string& bytes);

}  // namespace edgekd
