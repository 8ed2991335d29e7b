#include "image.h"

#include <cctype>

#include "files.h"
#include "problem.h"

namespace edgekd {
namespace {

// Binary PPM and PGM: a header of words, where # starts a comment, then the bytes.
Image decode_pnm(const std::string& bytes, const std::string& path) {
  size_t at = 2;
  if (bytes.size() < 3 || !std::isspace(static_cast<unsigned char>(bytes[2]))) throw Problem("input", "not a readable image (its header cannot be read)", path);
  auto number = [&](bool last) -> int64_t {
    for (; at < bytes.size(); ++at) {
      if (bytes[at] == '#') at = bytes.find('\n', at);
      if (at >= bytes.size() || !std::isspace(static_cast<unsigned char>(bytes[at]))) break;
    }
    int64_t value = 0;
    const size_t start = at;
    for (; at < bytes.size() && std::isdigit(static_cast<unsigned char>(bytes[at])) && at - start < 9; ++at) value = value * 10 + bytes[at] - '0';
    if (at == start || at >= bytes.size() || !(std::isspace(static_cast<unsigned char>(bytes[at])) || (bytes[at] == '#' && !last)))
      throw Problem("input", "not a readable image (its header cannot be read)", path);
    return value;
  };
  Image image;
  const int64_t width = number(false), height = number(false), levels = number(true);
  check_size(width, height, path);
  if (levels != 255) throw Problem("input", "only PPM and PGM of 255 levels are read", path, std::to_string(levels) + " levels", "save it as PNG");
  image.width = static_cast<int>(width), image.height = static_cast<int>(height);
  const size_t channels = bytes[1] == '6' ? 3 : 1, pixels = static_cast<size_t>(width) * static_cast<size_t>(height);
  ++at;  // the one white space behind the header
  if (bytes.size() < at + pixels * channels) throw Problem("input", "not a readable image (truncated)", path);
  image.rgb.resize(pixels * 3);
  for (size_t i = 0; i < pixels * 3; ++i) image.rgb[i] = static_cast<uint8_t>(bytes[at + (channels == 3 ? i : i / 3)]);
  return image;
}

}  // namespace

void check_size(int64_t width, int64_t height, const std::string& path) {
  const std::string seen = std::to_string(width) + " x " + std::to_string(height);
  if (width <= 0 || height <= 0) throw Problem("input", "the image has no pixels", path, seen);
  if (width * height > kMostPixels)
    throw Problem("input", "the image has too many pixels", path, seen, "make it smaller first; the most is 67 megapixels");
}

Image read_image(const std::string& path) {
  const std::string bytes = read_file(path, "input", size_t{1} << 30);
  if (bytes.compare(0, 8, "\x89PNG\r\n\x1a\n") == 0) return decode_png(bytes, path);
  if (bytes.compare(0, 3, "\xFF\xD8\xFF") == 0) return decode_jpeg(bytes, path);
  if (bytes.compare(0, 2, "P6") == 0 || bytes.compare(0, 2, "P5") == 0) return decode_pnm(bytes, path);
  throw Problem("input", "not a readable image (corrupt, or of a kind other than PNG, JPEG, PPM)", path, "", "save it as PNG");
}

Image upright(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool turned = orientation > 4;
  Image out;
  out.width = turned ? image.height : image.width, out.height = turned ? image.width : image.height;
  out.rgb.resize(image.rgb.size());
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      int from_x = turned ? y : x, from_y = turned ? x : y;
      if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) from_x = image.width - 1 - from_x;
      if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) from_y = image.height - 1 - from_y;
      for (int c = 0; c < 3; ++c) out.rgb[(size_t(y) * out.width + x) * 3 + c] = image.rgb[(size_t(from_y) * image.width + from_x) * 3 + c];
    }
  }
  return out;
}

int exif_orientation(const uint8_t* data, size_t size) {
  // As Pillow has it, the two bytes of 42 may stand in either order.
  if (size < 8 || data[0] != data[1] || (data[0] != 'I' && data[0] != 'M') || data[2] + data[3] != 42 || data[2] % 42 != 0) return 1;
  const bool little = data[0] == 'I';
  auto number = [&](size_t at, int bytes) -> uint32_t {
    uint32_t value = 0;
    for (int i = 0; i < bytes; ++i) value |= uint32_t{data[at + i]} << 8 * (little ? i : bytes - 1 - i);
    return value;
  };
  const size_t directory = number(4, 4);
  if (directory > size - 2) return 1;
  const size_t entries = number(directory, 2);
  for (size_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * i;
    if (entry + 12 > size) return 1;
    if (number(entry, 2) != 0x0112) continue;
    const uint32_t type = number(entry + 2, 2);  // TIFF 6.0, page 16; of what is no whole number nothing is known
    const int bytes = type == 6 ? 1 : type == 3 || type == 8 ? 2 : type == 4 || type == 9 ? 4 : 0;
    const uint64_t all = uint64_t{number(entry + 4, 4)} * bytes, at = all <= 4 ? entry + 8 : number(entry + 8, 4);
    return all && at + all <= size ? static_cast<int>(number(at, bytes)) : 1;
  }
  return 1;
}

}  // namespace edgekd
