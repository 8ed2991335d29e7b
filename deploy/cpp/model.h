// What a back end is: it turns one image's numbers into logits.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bundle.h"
#include "problem.h"

namespace edgekd {

class Model {
 public:
  virtual ~Model() = default;

  // input: float [1, 3, height, width]. Returns the logits. Throws Problem "device" when the runtime refuses.
  virtual std::vector<float> logits(const std::vector<float>& input) = 0;
};

// The bundle's file for this CPU, in onnxruntime. `flavour` gets its name.
std::unique_ptr<Model> open_onnxruntime(const Bundle& bundle, int height, int width, std::string& flavour);

// There is no GPU, or it is not ours to use.
struct NoGpu : Problem {
  using Problem::Problem;
};

// An engine in TensorRT: the file `engine`, or where that is "" the bundle's own for this TensorRT and GPU; nullptr where it
// has none. Throws NoGpu where the GPU cannot be asked which engine is its own.
std::unique_ptr<Model> open_tensorrt(const Bundle& bundle, const std::string& engine, int height, int width, std::string& flavour);

}  // namespace edgekd
