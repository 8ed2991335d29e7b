#include "preprocess.h"

#include <cmath>

#include "problem.h"
#include "resample.h"

namespace edgekd {
namespace {

[[noreturn]] void refuse(const std::string& what, const std::string& seen = "") { throw Problem("input", what, "preprocessing.json", seen); }

const Json& member(const Json& spec, const char* name) {
  const Json* found = spec.find(name);
  if (!found) refuse("the preprocessing cannot be read", std::string(name) + " is missing");
  return *found;
}

int whole(const Json& value, const char* name) {
  if (value.kind != Json::kNumber || value.number != std::floor(value.number) || std::fabs(value.number) > 1e9)
    refuse("the preprocessing cannot be read", std::string(name) + " is no whole number");
  return static_cast<int>(value.number);
}

void pair(const Json& value, const char* name, int& height, int& width) {
  if (value.kind != Json::kArray || value.items.size() != 2) refuse("the preprocessing cannot be read", std::string(name) + " is no pair");
  height = whole(value.items[0], name), width = whole(value.items[1], name);
}

std::array<double, 3> three(const Json& spec, const char* name) {
  const Json& value = member(spec, name);
  std::array<double, 3> numbers{};
  bool good = value.kind == Json::kArray && value.items.size() == 3;
  for (size_t i = 0; good && i < 3; ++i) good = value.items[i].kind == Json::kNumber && std::fabs(numbers[i] = value.items[i].number) < 1e6;
  if (!good) refuse(std::string(name) + " must be three finite numbers");
  return numbers;
}

// Python's round(): halves go to the even neighbour, as they do in the default rounding mode.
double rounded(double x) { return std::nearbyint(x); }

}  // namespace

Preprocessing::Preprocessing(const Json& spec) : mean(three(spec, "mean")), std(three(spec, "std")) {
  pair(member(spec, "image_size"), "image_size", height, width);
  const Json& resize = member(spec, "resize");
  if (member(spec, "interpolation").text != "bilinear" || resize.kind != Json::kObject || resize.members.size() != 1)
    refuse("resize must be shorter or exact, interpolation bilinear");
  if (const Json* to = resize.find("shorter")) {
    exact_height = exact_width = shorter = whole(*to, "shorter");
  } else if (const Json* to = resize.find("exact")) {
    pair(*to, "exact", exact_height, exact_width);
  } else {
    refuse("resize must be shorter or exact, interpolation bilinear", resize.members[0].first);
  }
  if (!(0 < height && height <= exact_height && 0 < width && width <= exact_width && int64_t{exact_height} * exact_width <= kMostPixels))
    refuse("image_size must be positive and fit into the resized image");
  for (double one : std)
    if (one <= 0) refuse("std must be above 0");
}

Image Preprocessing::resized(const Image& image) const {
  // Of a long, narrow image the resized edge can be longer than 2^31.
  int64_t resized_h = exact_height, resized_w = exact_width;
  if (shorter && image.width <= image.height) resized_h = static_cast<int64_t>(double(int64_t{shorter} * image.height) / image.width);
  if (shorter && image.width > image.height) resized_w = static_cast<int64_t>(double(int64_t{shorter} * image.width) / image.height);
  const double top = rounded((resized_h - height) / 2.0), left = rounded((resized_w - width) / 2.0);
  const double x = image.width / double(resized_w), y = image.height / double(resized_h);
  // Only this part of the image is resampled, to the final size: the pixels are those of resizing all and cropping.
  const Box box{static_cast<float>(left * x), static_cast<float>(top * y), static_cast<float>(std::fmin(image.width, (left + width) * x)),
                static_cast<float>(std::fmin(image.height, (top + height) * y))};
  return resample(image, width, height, box);
}

std::vector<float> Preprocessing::normalized(const Image& pixels) const {
  const size_t count = size_t(height) * width;
  std::vector<float> out(3 * count);
  for (size_t channel = 0; channel < 3; ++channel) {
    float table[256];
    for (int level = 0; level < 256; ++level) table[level] = static_cast<float>((level / 255.0 - mean[channel]) / std[channel]);
    for (size_t i = 0; i < count; ++i) out[channel * count + i] = table[pixels.rgb[3 * i + channel]];
  }
  return out;
}

}  // namespace edgekd
