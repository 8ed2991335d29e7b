// Antialiased bilinear resampling of a part of an image.
#pragma once

#include "image.h"

namespace edgekd {

// In pixels of the image, not necessarily whole ones; float, as Pillow keeps it.
struct Box {
  float left, top, right, bottom;
};

// The box, resampled to width x height: the bytes that Pillow's Image.resize(..., BILINEAR, box) gives for 8-bit RGB.
Image resample(const Image& image, int width, int height, Box box);

}  // namespace edgekd
