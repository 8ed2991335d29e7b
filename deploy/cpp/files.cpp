#include "files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "problem.h"

namespace edgekd {

std::string read_file(const std::string& path, const std::string& code, size_t most) {
  const int file = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);  // a pipe would keep us waiting without end
  if (file < 0) throw Problem(code, std::string("cannot open it: ") + std::strerror(errno), path);
  struct Closed {
    int file;
    ~Closed() { close(file); }
  } closed{file};
  struct stat status;
  if (fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) throw Problem(code, "it is no plain file", path);
  if (static_cast<unsigned long long>(status.st_size) > most) throw Problem(code, "it is too large", path, std::to_string(status.st_size) + " bytes");
  std::string bytes;
  bytes.resize(static_cast<size_t>(status.st_size));
  size_t got = 0;
  while (got < bytes.size()) {
    const ssize_t part = read(file, &bytes[got], bytes.size() - got);
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) throw Problem(code, std::string("cannot read it: ") + std::strerror(errno), path);
    if (part == 0) break;
    got += static_cast<size_t>(part);
  }
  bytes.resize(got);
  return bytes;
}

bool is_link(const std::string& path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
}

std::string below_root(const std::string& path) {
  const char* root = std::getenv("EDGEKD_DEVICE_ROOT");
  std::string prefix = root ? root : "";
  while (!prefix.empty() && prefix.back() == '/') prefix.pop_back();
  return prefix + path;
}

}  // namespace edgekd
