// An image file as RGB pixels, turned upright, transparent parts laid on white: as edgekd's preprocessing has it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace edgekd {

struct Image {
  int width = 0, height = 0;
  std::vector<uint8_t> rgb;  // [height, width, 3]
};

constexpr int64_t kMostPixels = int64_t{1} << 26;

// PNG and JPEG where this program was built with libpng and libjpeg, and binary PPM/PGM (P6, P5) of 255 levels.
// Throws Problem "input", naming the file: missing, not plain, unreadable, too large, or a kind that is not supported.
Image read_image(const std::string& path);

// Each used by read_image; `bytes` is the whole file.
Image decode_png(const std::string& bytes, const std::string& path);
Image decode_jpeg(const std::string& bytes, const std::string& path);

// Throws Problem "input" when an image of that size is too large.
void check_size(int64_t width, int64_t height, const std::string& path);

// The image turned as an EXIF orientation (1 to 8) says; others leave it as it is.
Image upright(Image image, int orientation);

// The orientation in EXIF data (a TIFF header and what follows it), 1 where there is none.
int exif_orientation(const uint8_t* data, size_t size);

}  // namespace edgekd
