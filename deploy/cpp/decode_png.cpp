#include "image.h"
#include "problem.h"

#ifndef EDGEKD_PNG
namespace edgekd {
Image decode_png(const std::string&, const std::string& path) {
  throw Problem("environment", "this program was built without libpng", path, "", "install libpng-dev and build it again, or give a PPM");
}
}  // namespace edgekd
#else

#include <png.h>

#include <cctype>
#include <csetjmp>
#include <cstdio>
#include <cstring>

namespace edgekd {
namespace {

constexpr char kBroken[] = "not a readable image (corrupt, truncated, or no image at all)";

struct Source {
  const std::string& bytes;
  size_t at = 0;
  std::string error;
  std::jmp_buf back;
};

void read_bytes(png_structp png, png_bytep out, size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->bytes.size() - source->at) png_error(png, "truncated");
  std::memcpy(out, source->bytes.data() + source->at, count);
  source->at += count;
}

void on_error(png_structp png, png_const_charp message) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  source->error = message;
  std::longjmp(source->back, 1);
}

void on_warning(png_structp, png_const_charp) {}

struct Decoded {
  int width = 0, height = 0, channels = 0, depth = 0, orientation = 1;
  bool grey16 = false, odd = false;
  std::vector<uint8_t> bytes;
  std::vector<png_bytep> rows;
};

// Of the EXIF that ImageMagick writes as text: a line of its own, "exif", the count of bytes, and these in hexadecimal digits.
int written_orientation(png_structp png, png_infop info) {
  png_textp texts = nullptr;
  int count = 0;
  png_get_text(png, info, &texts, &count);
  for (int i = 0; i < count; ++i) {
    if (std::strcmp(texts[i].key, "Raw profile type exif") != 0) continue;
    const char* at = texts[i].text;
    for (int line = 0; at && line < 3; ++line)
      if ((at = std::strchr(at, '\n'))) ++at;
    std::vector<uint8_t> exif;
    for (; at && *at; ++at) {
      if (std::isspace(static_cast<unsigned char>(*at))) continue;
      unsigned byte = 0;
      if (!std::isxdigit(static_cast<unsigned char>(at[0])) || !std::isxdigit(static_cast<unsigned char>(at[1])) || std::sscanf(at++, "%2x", &byte) != 1) return 1;
      exif.push_back(static_cast<uint8_t>(byte));
    }
    const size_t start = exif.size() > 6 && std::memcmp(exif.data(), "Exif\0\0", 6) == 0 ? 6 : 0;
    return exif_orientation(exif.data() + start, exif.size() - start);
  }
  return 1;
}

// Nothing with a destructor may be made in here: errors leave by longjmp.
bool decode(Source& source, png_structp png, png_infop info, Decoded& out) {
  if (setjmp(source.back)) return false;
  png_set_read_fn(png, &source, read_bytes);
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_set_user_limits(png, 0x7FFFFFFF, 0x7FFFFFFF);
  png_read_info(png, info);
  out.width = static_cast<int>(png_get_image_width(png, info)), out.height = static_cast<int>(png_get_image_height(png, info));
  if (int64_t{out.width} * out.height > kMostPixels) return true;
  const int colour = png_get_color_type(png, info), depth = png_get_bit_depth(png, info);
  const bool keyed = png_get_valid(png, info, PNG_INFO_tRNS) != 0;
  // How Pillow reads one colour key is not defined for these in the same way everywhere.
  out.odd = keyed && colour != PNG_COLOR_TYPE_PALETTE && depth != 8 && !(colour == PNG_COLOR_TYPE_GRAY && depth == 16);
  if (out.odd) return true;
  out.grey16 = colour == PNG_COLOR_TYPE_GRAY && depth == 16;
  if (!out.grey16) {
    if (depth == 16) png_set_strip_16(png);
    if (colour == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (colour == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (keyed) png_set_tRNS_to_alpha(png);
    if (!(colour & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
  }
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
  out.channels = png_get_channels(png, info);
  const size_t row = png_get_rowbytes(png, info);
  out.bytes.resize(row * out.height);
  out.rows.resize(out.height);
  for (int y = 0; y < out.height; ++y) out.rows[y] = out.bytes.data() + y * row;
  png_read_image(png, out.rows.data());
  png_read_end(png, info);
  out.orientation = written_orientation(png, info);
#ifdef PNG_eXIf_SUPPORTED
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(png, info, &size, &exif)) out.orientation = exif_orientation(exif, size);
#endif
  return true;
}

// One 8-bit value of the given opacity on white, rounded as Pillow's alpha_composite does.
uint8_t on_white(unsigned value, unsigned alpha) {
  const unsigned share = alpha * 128, sum = value * share + 255 * (255 * 128 - share) + (0x80 << 7);
  return static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> 7);
}

Image rgb_of(const Decoded& from) {
  Image image;
  image.width = from.width, image.height = from.height;
  const size_t pixels = size_t(from.width) * from.height;
  image.rgb.resize(pixels * 3);
  for (size_t i = 0; i < pixels; ++i) {
    for (size_t c = 0; c < 3; ++c) {
      uint8_t& out = image.rgb[i * 3 + c];
      if (from.grey16) out = static_cast<uint8_t>(((from.bytes[2 * i] << 8 | from.bytes[2 * i + 1]) + 128) / 257);
      else if (from.channels == 4) out = on_white(from.bytes[i * 4 + c], from.bytes[i * 4 + 3]);
      else out = from.bytes[i * 3 + c];
    }
  }
  return image;
}

}  // namespace

Image decode_png(const std::string& bytes, const std::string& path) {
  Source source{bytes, 0, "", {}};
  Decoded decoded;
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, on_error, on_warning);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  const bool good = info && decode(source, png, info, decoded);
  png_destroy_read_struct(&png, &info, nullptr);
  if (!good) throw Problem("input", kBroken, path, source.error, "replace or remove the file; an image viewer will likely refuse it too");
  check_size(decoded.width, decoded.height, path);
  if (decoded.odd) throw Problem("input", "a transparent colour in a PNG of this depth is not supported", path, "", "save it as 8-bit RGB");
  return upright(rgb_of(decoded), decoded.orientation);
}

}  // namespace edgekd
#endif
