// The onnxruntime back end, by the C API: the sessions are those of edgekd's Python loader.
#include <onnxruntime_c_api.h>

#include "cpu.h"
#include "model.h"
#include "problem.h"

namespace edgekd {
namespace {

// All that is used here has been there since this version; a newer library still offers it.
constexpr uint32_t kApiVersion = 5;

class Onnxruntime : public Model {
 public:
  Onnxruntime(const std::string& path, const std::string& content, int weight_bits, int height, int width) : path_(path), shape_{1, 3, height, width} {
    api_ = OrtGetApiBase()->GetApi(kApiVersion);
    if (!api_) throw Problem("environment", "this onnxruntime is too old", OrtGetApiBase()->GetVersionString());
    check(api_->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "edgekd", &env_));
    check(api_->CreateSessionOptions(&options_));
    check(api_->SetIntraOpNumThreads(options_, 1));
    check(api_->SetInterOpNumThreads(options_, 1));
    check(api_->SetSessionExecutionMode(options_, ORT_SEQUENTIAL));
    check(api_->SetSessionLogSeverityLevel(options_, 3));
    check(api_->SetSessionGraphOptimizationLevel(options_, ORT_ENABLE_ALL));
    if (weight_bits != 7 && needs_seven_bit_weights())  // else sums of 8-bit weights saturate
      check(api_->AddSessionConfigEntry(options_, "session.x64quantprecision", "1"));
    // From the bytes that were compared with the manifest, not from the file, which may have changed since.
    check(api_->CreateSessionFromArray(env_, content.data(), content.size(), options_, &session_));
    check(api_->GetAllocatorWithDefaultOptions(&allocator_));
    check(api_->SessionGetInputName(session_, 0, allocator_, &input_));
    check(api_->SessionGetOutputName(session_, 0, allocator_, &output_));
    check(api_->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory_));
  }

  ~Onnxruntime() override {
    for (char* name : {input_, output_})
      if (name) api_->ReleaseStatus(api_->AllocatorFree(allocator_, name));
    if (memory_) api_->ReleaseMemoryInfo(memory_);
    if (session_) api_->ReleaseSession(session_);
    if (options_) api_->ReleaseSessionOptions(options_);
    if (env_) api_->ReleaseEnv(env_);
  }

  std::vector<float> logits(const std::vector<float>& input) override {
    OrtValue *in = nullptr, *out = nullptr;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    const auto release = [&] {
      if (info) api_->ReleaseTensorTypeAndShapeInfo(info);
      if (out) api_->ReleaseValue(out);
      if (in) api_->ReleaseValue(in);
    };
    try {
      void* data = const_cast<float*>(input.data());  // onnxruntime only reads it
      check(api_->CreateTensorWithDataAsOrtValue(memory_, data, input.size() * sizeof(float), shape_, 4, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &in));
      check(api_->Run(session_, nullptr, &input_, &in, 1, &output_, 1, &out));
      ONNXTensorElementDataType type = ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
      size_t count = 0;
      void* values = nullptr;
      check(api_->GetTensorTypeAndShape(out, &info));
      check(api_->GetTensorElementType(info, &type));
      check(api_->GetTensorShapeElementCount(info, &count));
      check(api_->GetTensorMutableData(out, &values));
      if (type != ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT) throw Problem("device", "the model does not give float logits", path_);
      std::vector<float> result(static_cast<float*>(values), static_cast<float*>(values) + count);
      release();
      return result;
    } catch (...) {
      release();
      throw;
    }
  }

 private:
  void check(OrtStatus* status) const {
    if (!status) return;
    const std::string said = api_->GetErrorMessage(status);
    api_->ReleaseStatus(status);
    throw Problem("device", "onnxruntime refuses", path_, said);
  }

  const std::string path_;
  const int64_t shape_[4];
  const OrtApi* api_ = nullptr;
  OrtEnv* env_ = nullptr;
  OrtSessionOptions* options_ = nullptr;
  OrtSession* session_ = nullptr;
  OrtAllocator* allocator_ = nullptr;
  OrtMemoryInfo* memory_ = nullptr;
  char *input_ = nullptr, *output_ = nullptr;
};

}  // namespace

std::unique_ptr<Model> open_onnxruntime(const Bundle& bundle, int height, int width, std::string& flavour) {
  const ModelFile file = bundle.model_for_cpu();
  flavour = file.flavour;
  return std::make_unique<Onnxruntime>(file.path, bundle.file(file.path), file.weight_bits, height, width);
}

}  // namespace edgekd
