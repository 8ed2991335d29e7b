// Written after what Pillow does: a triangle filter as wide as the scale, weights rounded to 22 bits after the point, one pass
// along the rows and one along the columns, each rounded to 8 bits. Built without fused multiply-add, which would round some
// weights otherwise.
#include "resample.h"

#include <algorithm>
#include <cmath>

namespace edgekd {
namespace {

constexpr int kBits = 22;

// For each output pixel the first input pixel it takes, and the weights of that and the following ones.
struct Taps {
  std::vector<int> first;
  std::vector<std::vector<int32_t>> weights;
};

Taps taps_of(int in_size, float from, float to, int out_size) {
  const double scale = static_cast<double>(to - from) / out_size, wide = std::max(scale, 1.0), support = wide;
  Taps taps;
  for (int out = 0; out < out_size; ++out) {
    const double centre = from + (out + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int last = std::min(in_size, static_cast<int>(centre + support + 0.5));
    std::vector<double> shares;
    double sum = 0;
    for (int i = 0; i < last - first; ++i) {
      const double away = std::fabs((i + first - centre + 0.5) * (1.0 / wide));
      shares.push_back(away < 1.0 ? 1.0 - away : 0.0);
      sum += shares.back();
    }
    std::vector<int32_t> weights;
    for (double share : shares) weights.push_back(static_cast<int32_t>(0.5 + (sum != 0 ? share / sum : share) * (1 << kBits)));
    taps.first.push_back(first);
    taps.weights.push_back(std::move(weights));
  }
  return taps;
}

uint8_t clipped(int sum) { return static_cast<uint8_t>(std::min(255, std::max(0, sum >> kBits))); }

// One pass over `lines` lines: the next pixel along a line is `step` bytes on, the next line `stride`.
struct Along {
  size_t step, stride;
};

void pass(const uint8_t* in, Along from, uint8_t* out, Along to, int lines, const Taps& taps) {
  for (int line = 0; line < lines; ++line) {
    for (size_t at = 0; at < taps.first.size(); ++at) {
      const uint8_t* pixel = in + line * from.stride + taps.first[at] * from.step;
      int sums[3] = {1 << (kBits - 1), 1 << (kBits - 1), 1 << (kBits - 1)};
      for (int32_t weight : taps.weights[at]) {
        for (int channel = 0; channel < 3; ++channel) sums[channel] += pixel[channel] * weight;
        pixel += from.step;
      }
      for (int channel = 0; channel < 3; ++channel) out[line * to.stride + at * to.step + channel] = clipped(sums[channel]);
    }
  }
}

Image blank(int width, int height) {
  Image image;
  image.width = width, image.height = height, image.rgb.resize(size_t(width) * height * 3);
  return image;
}

size_t row_bytes(const Image& image) { return size_t(image.width) * 3; }

// The rows from `first` on, as many as `rows`, made `width` wide.
Image across(const Image& image, int first, int rows, int width, const Taps& taps) {
  Image out = blank(width, rows);
  pass(image.rgb.data() + first * row_bytes(image), {3, row_bytes(image)}, out.rgb.data(), {3, row_bytes(out)}, rows, taps);
  return out;
}

// The columns from `first` on, as many as `columns`, made `height` high.
Image down(const Image& image, int first, int columns, int height, const Taps& taps) {
  Image out = blank(columns, height);
  pass(image.rgb.data() + first * 3, {row_bytes(image), 3}, out.rgb.data(), {row_bytes(out), 3}, columns, taps);
  return out;
}

// What of a line the taps read, and the taps as seen from there.
struct Span {
  int first, count;
};

Span shifted_to_start(Taps& taps) {
  const Span span{taps.first.front(), taps.first.back() + static_cast<int>(taps.weights.back().size()) - taps.first.front()};
  for (int& one : taps.first) one -= span.first;
  return span;
}

}  // namespace

Image resample(const Image& image, int width, int height, Box box) {
  const bool horizontally = width != image.width || box.left != 0 || box.right != width;
  const bool vertically = height != image.height || box.top != 0 || box.bottom != height;
  Taps columns = taps_of(image.width, box.left, box.right, width), rows = taps_of(image.height, box.top, box.bottom, height);
  if (!horizontally && !vertically) return image;
  if (!vertically) return across(image, 0, height, width, columns);
  if (!horizontally) return down(image, 0, width, height, rows);
  // Each pass rounds, so their order shows in the pixels. It is that of Pillow 13 and of edgekd's own preprocessing.
  if (image.height > height && int64_t{image.height} - height > 2 * (int64_t{image.width} - width)) {
    const Span read = shifted_to_start(columns);
    return across(down(image, read.first, read.count, height, rows), 0, height, width, columns);
  }
  const Span read = shifted_to_start(rows);
  return down(across(image, read.first, read.count, width, columns), 0, width, height, rows);
}

}  // namespace edgekd
