// From an image to what the model eats: edgekd's preprocessing, bit for bit that of its Python loader with Pillow.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "image.h"
#include "json.h"

namespace edgekd {

// What preprocessing.json says.
struct Preprocessing {
  int height = 0, width = 0;                        // of the model's input
  int shorter = 0;                                  // the shorter edge after resizing; 0: resized to exactly exact_height x exact_width
  int exact_height = 0, exact_width = 0;
  std::array<double, 3> mean{}, std{};              // of pixels in 0..1

  // Throws Problem "input" when the specification cannot be followed exactly: another filter, another kind of resize.
  explicit Preprocessing(const Json& spec);

  // uint8 [height, width, 3]: resized (antialiased bilinear, Pillow's fixed-point arithmetic) and centre-cropped.
  Image resized(const Image& image) const;

  // float [3, height, width]: (x / 255 - mean) / std, rounded once from double.
  std::vector<float> normalized(const Image& pixels) const;
};

}  // namespace edgekd
