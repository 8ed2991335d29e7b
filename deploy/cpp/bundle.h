// A bundle on disk: its manifest, and its files once their bytes have been compared with it.
#pragma once

#include <string>
#include <vector>

#include "json.h"

namespace edgekd {

struct ModelFile {
  std::string path, flavour;
  int weight_bits = 0;
};

class Bundle {
 public:
  // Throws Problem: "input" (no bundle there, another schema), "integrity" (the manifest is not what its sha256 says, or
  // names files outside).
  explicit Bundle(std::string folder);

  // The bytes of a file of the bundle. Throws Problem "integrity" when they are not those of the manifest, when the file is
  // a link or lies behind one, or is not in the manifest.
  std::string file(const std::string& path) const;

  // preprocessing.json and other JSON files, checked as file() does.
  Json json(const std::string& path) const;

  // Texts of labels.json, as many as the manifest says.
  std::vector<std::string> labels() const;

  // The ONNX file for this CPU: ort or ort-w7, else the other, else fp32. Throws Problem.
  ModelFile model_for_cpu() const;

  // The path of the engine that TensorRT of this version ("10.3.0") can load on a GPU of this compute capability ("8.7"),
  // "" when there is none; of several the one that was built on this very module, else the first. Engines are named by the
  // manifest: {"engines": [{"path", "tensorrt", "compute_capability", "module", ...}, ...]}.
  std::string engine_for(const std::string& tensorrt, const std::string& compute_capability) const;

  const std::string folder;

 private:
  [[noreturn]] void damaged(const std::string& what) const;

  Json manifest_;
};

}  // namespace edgekd
