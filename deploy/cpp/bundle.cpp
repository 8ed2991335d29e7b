#include "bundle.h"

#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "cpu.h"
#include "files.h"
#include "problem.h"
#include "sha256.h"

namespace edgekd {
namespace {

constexpr size_t kMostManifest = size_t{4} << 20, kMostFile = size_t{4} << 30;

std::string text_of(const Json& object, const char* name) {
  const Json* found = object.find(name);
  return found && found->kind == Json::kString ? found->text : "";
}

// Relative, plain, and inside the bundle.
bool is_inside(const std::string& path) {
  if (path.empty() || path.size() >= 1024 || path.find('\\') != std::string::npos || path.find('\0') != std::string::npos) return false;
  for (size_t start = 0; start <= path.size();) {
    const size_t end = std::min(path.find('/', start), path.size());
    const std::string part = path.substr(start, end - start);
    if (part.empty() || part == "." || part == "..") return false;
    start = end + 1;
  }
  return true;
}

const Json* described(const Json& manifest, const std::string& path) {
  for (const Json& one : manifest.find("files")->items)
    if (text_of(one, "path") == path) return &one;
  return nullptr;
}

}  // namespace

Bundle::Bundle(std::string given) : folder(std::move(given)) {
  const std::string path = folder + "/manifest.json", beside = path + ".sha256";
  struct stat status;
  if (stat(path.c_str(), &status) != 0) throw Problem("input", "no bundle there: manifest.json is missing", folder, "", "give the bundle's folder");
  for (const std::string& one : {path, beside})
    if (is_link(one)) throw Problem("integrity", "a link", one);
  const std::string content = read_file(path, "integrity", kMostManifest), digest = sha256(content);
  const std::string promised = read_file(beside, "integrity", kMostManifest);
  if (promised.compare(0, 64, digest) != 0) throw Problem("integrity", "the manifest has other bytes than its sha256 says", path, digest);
  manifest_ = parse_json(content, path);
  const Json* schema = manifest_.find("schema");
  if (!schema || schema->kind != Json::kNumber || schema->number != 1)
    throw Problem("input", "this version reads bundles of schema 1", folder, "", "use the edgekd.pyz inside the bundle, or a newer edgekd");
  const Json* files = manifest_.find("files");
  if (!files || files->kind != Json::kArray) throw Problem("integrity", "the manifest cannot be read", path, "no files");
  for (const Json& one : files->items)
    if (!is_inside(text_of(one, "path"))) throw Problem("integrity", "the manifest names files it may not", path, text_of(one, "path"));
}

void Bundle::damaged(const std::string& what) const {
  throw Problem("integrity", "the bundle is damaged: " + what, folder, "", "copy the bundle again; python3 edgekd.pyz verify names every difference");
}

std::string Bundle::file(const std::string& path) const {
  const Json* promised = described(manifest_, path);
  if (!promised) damaged(path + " is not in the manifest");
  for (size_t end = path.find('/'); ; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (is_link(folder + "/" + part)) damaged(path + (end == std::string::npos ? " is a link or no plain file" : " lies behind a link"));
    if (end == std::string::npos) break;
  }
  const std::string content = read_file(folder + "/" + path, "integrity", kMostFile);
  const Json* bytes = promised->find("bytes");
  if (!bytes || bytes->kind != Json::kNumber || bytes->number != static_cast<double>(content.size()))
    damaged(path + " has " + std::to_string(content.size()) + " bytes, which is not what it had");
  if (sha256(content) != text_of(*promised, "sha256")) damaged(path + " has other bytes");
  return content;
}

Json Bundle::json(const std::string& path) const { return parse_json(file(path), folder + "/" + path); }

std::vector<std::string> Bundle::labels() const {
  const Json read = json("labels.json");
  std::vector<std::string> labels;
  for (const Json& one : read.items)
    if (one.kind == Json::kString) labels.push_back(one.text);
  const Json* classes = manifest_.find("classes");
  if (labels.empty() || labels.size() != read.items.size() || !classes || classes->number != static_cast<double>(labels.size()))
    throw Problem("integrity", "labels and classes differ", folder + "/labels.json", std::to_string(labels.size()) + " labels");
  return labels;
}

ModelFile Bundle::model_for_cpu() const {
  const Json* models = manifest_.find("models");
  if (!models || models->kind != Json::kArray) throw Problem("integrity", "the manifest describes no models", "manifest.json");
  for (const std::string& wanted : {std::string(needs_seven_bit_weights() ? "ort-w7" : "ort"), std::string("ort"), std::string("ort-w7"), std::string("fp32")}) {
    for (const Json& one : models->items) {
      if (text_of(one, "flavour") != wanted) continue;
      const Json* bits = one.find("weight_bits");
      return {text_of(one, "path"), wanted, bits ? static_cast<int>(bits->number) : 0};
    }
  }
  throw Problem("input", "the bundle has no model for onnxruntime", folder);
}

std::string Bundle::engine_for(const std::string& tensorrt, const std::string& compute_capability) const {
  const Json* engines = manifest_.find("engines");
  if (!engines) return "";
  std::ifstream told(below_root("/proc/device-tree/compatible"), std::ios::binary);
  const std::string tree{std::istreambuf_iterator<char>(told), {}};
  std::string fitting;
  for (const Json& one : engines->items) {
    const std::string built_by = text_of(one, "tensorrt");  // 10.3.0 or, with the build, 10.3.0.30
    const bool same = built_by == tensorrt || built_by.compare(0, tensorrt.size() + 1, tensorrt + ".") == 0;
    if (!same || text_of(one, "compute_capability") != compute_capability) continue;
    const std::string module = text_of(one, "module");
    if (!module.empty() && tree.find(module) != std::string::npos) return text_of(one, "path");
    if (fitting.empty()) fitting = text_of(one, "path");
  }
  return fitting;
}

}  // namespace edgekd
