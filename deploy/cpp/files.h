// Files as bytes.
#pragma once

#include <string>

namespace edgekd {

// All bytes of a plain file. Throws Problem of that code, naming the file: missing, no plain file, more than `most` bytes.
std::string read_file(const std::string& path, const std::string& code, size_t most);

// Whether something is a symbolic link.
bool is_link(const std::string& path);

// Where a system file is: below $EDGEKD_DEVICE_ROOT when that is set.
std::string below_root(const std::string& path);

}  // namespace edgekd
