// Classify images with an edgekd bundle: label and probability, the same as `edgekd predict` prints. Copy it, change it.
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>

#include "bundle.h"
#include "image.h"
#include "model.h"
#include "preprocess.h"
#include "problem.h"

namespace edgekd {
namespace {

constexpr char kUsage[] =
    "usage: edgekd-classify BUNDLE IMG... [--top K] [--json] [--logits] [--backend onnxruntime|tensorrt] [--engine FILE]\n"
    "  --top K        how many of the likeliest classes to list (default: 1)\n"
    "  --json         one JSON document, as `edgekd predict --json` prints it; --logits adds the model's own numbers\n"
    "  --backend B    default: TensorRT where an engine fits this device, else onnxruntime\n"
    "  --engine FILE  a TensorRT engine that was built on this device from a file of the bundle\n"
    "status: 0, 2 wrong input, 5 something is not installed or the answer cannot be written, 6 the runtime refuses, 7 a damaged bundle\n";

struct Options {
  std::string bundle, backend, engine;
  std::vector<std::string> images;
  size_t top = 1;
  bool json = false, logits = false;
};

struct Prediction {
  std::string image;
  std::vector<float> logits;
  std::vector<size_t> order;          // likeliest first
  std::vector<double> probabilities;  // by class
};

[[noreturn]] void usage(const std::string& why) {
  std::fprintf(stderr, "%sedgekd-classify: %s\n", kUsage, why.c_str());
  std::exit(2);
}

Options options_of(int count, char** words) {
  Options options;
  std::vector<std::string> plain;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const auto value = [&]() -> std::string { return ++i < count ? words[i] : (usage(word + " needs a value"), ""); };
    if (word == "--help" || word == "-h") std::printf("%s", kUsage), std::exit(0);
    if (word == "--json") options.json = true;
    else if (word == "--logits") options.logits = true;
    else if (word == "--backend") options.backend = value();
    else if (word == "--engine") options.engine = value();
    else if (word == "--top") options.top = std::strtoul(value().c_str(), nullptr, 10);
    else if (word == "--") { plain.insert(plain.end(), words + i + 1, words + count); break; }
    else if (word.size() > 1 && word[0] == '-') usage("unknown option " + word);
    else plain.push_back(word);
  }
  if (plain.size() < 2) usage("give a bundle and images");
  if (options.top < 1) usage("--top must be at least 1");
  if (!options.backend.empty() && options.backend != "onnxruntime" && options.backend != "tensorrt") usage("unknown back end " + options.backend);
  if (!options.engine.empty() && options.backend == "onnxruntime") usage("--engine is for the TensorRT back end");
  options.bundle = plain[0];
  options.images.assign(plain.begin() + 1, plain.end());
  return options;
}

#ifdef EDGEKD_ONNXRUNTIME
constexpr bool kOnnxruntime = true;
#else
constexpr bool kOnnxruntime = false;
#endif

std::unique_ptr<Model> open(const Bundle& bundle, const Options& options, int height, int width, std::string& flavour) {
  [[maybe_unused]] const bool want_engine = !options.engine.empty() || options.backend == "tensorrt";
#ifdef EDGEKD_TENSORRT
  if (options.backend != "onnxruntime") {
    try {
      if (auto model = open_tensorrt(bundle, options.engine, height, width, flavour)) return model;
    } catch (const NoGpu&) {
      if (want_engine || !kOnnxruntime) throw;
    }
  }
  if (want_engine)
    throw Problem("input", "the bundle has no engine for this TensorRT and GPU", bundle.folder, "", "build one on this device and give --engine FILE");
#else
  if (want_engine) throw Problem("environment", "this program was built without TensorRT", "", "", "build it again where TensorRT is installed");
#endif
#ifdef EDGEKD_ONNXRUNTIME
  return open_onnxruntime(bundle, height, width, flavour);
#else
  throw Problem("environment", "this program was built without onnxruntime", "", "", "give --engine FILE, or build it again with onnxruntime");
#endif
}

Prediction predicted(Model& model, const Preprocessing& preprocessing, const std::string& image, size_t classes) {
  Prediction one{image, model.logits(preprocessing.normalized(preprocessing.resized(read_image(image)))), {}, {}};
  if (one.logits.size() != classes)
    throw Problem("integrity", "the model does not fit the labels", "", std::to_string(one.logits.size()) + " logits, " + std::to_string(classes) + " labels");
  const double largest = *std::max_element(one.logits.begin(), one.logits.end());
  for (float logit : one.logits) one.probabilities.push_back(std::exp(logit - largest));
  const double sum = std::accumulate(one.probabilities.begin(), one.probabilities.end(), 0.0);
  for (double& share : one.probabilities) share /= sum;
  one.order.resize(classes);
  std::iota(one.order.begin(), one.order.end(), size_t{0});
  std::stable_sort(one.order.begin(), one.order.end(), [&](size_t a, size_t b) { return one.probabilities[a] > one.probabilities[b]; });
  return one;
}

std::string number(double value) {
  if (!std::isfinite(value)) return "null";
  char text[32];
  std::snprintf(text, sizeof text, "%.17g", value);
  return text;
}

std::string class_json(const Prediction& one, size_t rank, const std::vector<std::string>& labels) {
  const size_t index = one.order[rank];
  return "\"label\": " + quoted(labels[index]) + ", \"index\": " + std::to_string(index) + ", \"probability\": " + number(one.probabilities[index]);
}

std::string prediction_json(const Prediction& one, const Options& options, const std::vector<std::string>& labels) {
  std::string text = "{\"image\": " + quoted(one.image) + ", " + class_json(one, 0, labels) + ", \"top\": [";
  for (size_t rank = 0; rank < std::min(options.top, labels.size()); ++rank) text += (rank ? ", {" : "{") + class_json(one, rank, labels) + "}";
  text += "]";
  for (size_t i = 0; options.logits && i < one.logits.size(); ++i) text += (i ? ", " : ", \"logits\": [") + number(one.logits[i]) + (i + 1 == one.logits.size() ? "]" : "");
  return text + "}";
}

std::string problem_json(const Problem& problem) {
  const auto text = [](const std::string& words) { return words.empty() ? "null" : quoted(words); };
  return "{\"code\": " + quoted(problem.code) + ", \"what\": " + quoted(problem.what()) + ", \"where\": " + text(problem.where) +
         ", \"seen\": " + text(problem.seen) + ", \"fix\": " + text(problem.fix) + "}";
}

// No label and no file name steers a terminal.
std::string printable(std::string text) {
  for (char& letter : text)
    if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7F) letter = '?';
  return text;
}

void tell(const Problem& problem) {
  std::fprintf(stderr, "%s%s%s\n", printable(problem.where).c_str(), problem.where.empty() ? "" : ": ", problem.what());
  if (!problem.seen.empty()) std::fprintf(stderr, "  seen: %s\n", printable(problem.seen).c_str());
  if (!problem.fix.empty()) std::fprintf(stderr, "  try: %s\n", printable(problem.fix).c_str());
}

int run(const Options& options) {
  std::string flavour, predictions;
  int status = 0, unread = 0;
  try {
    const Bundle bundle(options.bundle);
    const std::vector<std::string> labels = bundle.labels();
    const Preprocessing preprocessing(bundle.json("preprocessing.json"));
    const auto model = open(bundle, options, preprocessing.height, preprocessing.width, flavour);
    for (const std::string& image : options.images) {
      try {
        const Prediction one = predicted(*model, preprocessing, image, labels.size());
        if (options.json) predictions += (predictions.empty() ? "" : ", ") + prediction_json(one, options, labels);
        else {
          std::printf("%s", printable(image).c_str());
          for (size_t rank = 0; rank < std::min(options.top, labels.size()); ++rank)
            std::printf("  %s  %.3f", printable(labels[one.order[rank]]).c_str(), one.probabilities[one.order[rank]]);
          std::printf("\n");
        }
      } catch (const Problem& problem) {  // a broken image must not cost the others
        if (problem.code != "input") throw;
        tell(problem);
        ++unread, status = 2;
      }
    }
  } catch (const Problem& problem) {
    if (options.json) std::printf("{\"schema\": 1, \"exit_code\": %d, \"error\": %s}\n", problem.exit_code(), problem_json(problem).c_str());
    tell(problem);
    return problem.exit_code();
  }
  if (options.json) {
    std::string error;
    if (unread) error = ", \"error\": " + problem_json(Problem("input", std::to_string(unread) + " of " + std::to_string(options.images.size()) + " images cannot be read"));
    std::printf("{\"schema\": 1, \"exit_code\": %d, \"bundle\": %s, \"flavour\": %s, \"predictions\": [%s]%s}\n", status, quoted(options.bundle).c_str(),
                quoted(flavour).c_str(), predictions.c_str(), error.c_str());
  }
  return status;
}

}  // namespace
}  // namespace edgekd

int main(int count, char** words) try {
  const int status = edgekd::run(edgekd::options_of(count, words));
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return status;
  edgekd::tell({"environment", "the answer cannot be written", "", std::strerror(errno), "is the disk full?"});
  return status ? status : 5;
} catch (const std::bad_alloc&) {
  edgekd::tell({"environment", "out of memory"});
  return 5;
}
