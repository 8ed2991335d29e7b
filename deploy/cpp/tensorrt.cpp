// The TensorRT back end: an engine that was built on this device, one image at a time. TensorRT 8.5 and later.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdio>

#include "files.h"
#include "model.h"
#include "plan_header.h"
#include "problem.h"

#if NV_TENSORRT_MAJOR * 100 + NV_TENSORRT_MINOR < 805
#error "TensorRT 8.5 (JetPack 5.1) or later is needed; on JetPack 4 build with -DEDGEKD_TENSORRT=OFF and use onnxruntime"
#endif

namespace edgekd {
namespace {

constexpr char kGroups[] = "is the user in the groups video and render?";

class Logger : public nvinfer1::ILogger {
 public:
  void log(Severity severity, nvinfer1::AsciiChar const* message) noexcept override {
    if (severity <= Severity::kERROR) last_error = message;
    if (severity <= Severity::kWARNING) std::fprintf(stderr, "TensorRT: %s\n", message);
  }
  std::string last_error;
};

void check(cudaError_t status) {
  if (status != cudaSuccess) throw Problem("device", "CUDA refuses", "", cudaGetErrorString(status), kGroups);
}

struct DeviceMemory {
  explicit DeviceMemory(size_t bytes) { check(cudaMalloc(&at, bytes)); }
  ~DeviceMemory() { cudaFree(at); }
  DeviceMemory(const DeviceMemory&) = delete;
  void* at = nullptr;
};

size_t elements(const nvinfer1::Dims& shape) {
  size_t count = 1;
  for (int i = 0; i < shape.nbDims; ++i) count *= shape.d[i] > 0 ? static_cast<size_t>(shape.d[i]) : 1;  // -1: a free batch, of one here
  return count;
}

class Tensorrt : public Model {
 public:
  Tensorrt(const std::string& content, const std::string& path, int height, int width) : path_(path) {
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    if (!runtime_) refuse("TensorRT does not start");
    engine_.reset(runtime_->deserializeCudaEngine(content.data(), content.size()));
    if (!engine_) refuse("TensorRT refuses the engine");
    context_.reset(engine_->createExecutionContext());
    if (!context_) refuse("TensorRT cannot make a context");
    for (int i = 0; i < engine_->getNbIOTensors(); ++i) {
      const char* name = engine_->getIOTensorName(i);
      const bool is_input = engine_->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
      std::string& known = is_input ? input_ : output_;
      if (!known.empty()) refuse("the engine has more than one input or output");
      if (engine_->getTensorDataType(name) != nvinfer1::DataType::kFLOAT) refuse("the engine's input and output must be float32");
      known = name;
    }
    if (input_.empty() || output_.empty()) refuse("the engine lacks an input or an output");
    const size_t needed = size_t{3} * height * width;
    if (elements(engine_->getTensorShape(input_.c_str())) != needed) refuse("the engine wants another image size than the bundle says");
    nvinfer1::Dims shape{};
    shape.nbDims = 4, shape.d[0] = 1, shape.d[1] = 3, shape.d[2] = height, shape.d[3] = width;
    if (!context_->setInputShape(input_.c_str(), shape)) refuse("TensorRT refuses a batch of one");
    logits_.resize(elements(context_->getTensorShape(output_.c_str())));
    in_ = std::make_unique<DeviceMemory>(needed * sizeof(float));
    out_ = std::make_unique<DeviceMemory>(logits_.size() * sizeof(float));
    if (!context_->setTensorAddress(input_.c_str(), in_->at) || !context_->setTensorAddress(output_.c_str(), out_->at))
      refuse("TensorRT refuses the buffers");
    check(cudaStreamCreate(&stream_));
  }

  ~Tensorrt() override {
    if (stream_) cudaStreamDestroy(stream_);
  }

  std::vector<float> logits(const std::vector<float>& input) override {
    check(cudaMemcpyAsync(in_->at, input.data(), input.size() * sizeof(float), cudaMemcpyHostToDevice, stream_));
    if (!context_->enqueueV3(stream_)) refuse("TensorRT does not run the engine");
    check(cudaMemcpyAsync(logits_.data(), out_->at, logits_.size() * sizeof(float), cudaMemcpyDeviceToHost, stream_));
    check(cudaStreamSynchronize(stream_));
    return logits_;
  }

 private:
  [[noreturn]] void refuse(const char* what) const { throw Problem("device", what, path_, logger_.last_error); }

  // In this order, so that they are released context first, logger last.
  Logger logger_;
  const std::string path_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::unique_ptr<DeviceMemory> in_, out_;
  std::string input_, output_;
  std::vector<float> logits_;
  cudaStream_t stream_ = nullptr;
};

std::string compute_capability() {
  int device = 0, major = 0, minor = 0;
  cudaError_t status = cudaGetDevice(&device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  if (status == cudaSuccess) status = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device);
  if (status != cudaSuccess) throw NoGpu("device", "there is no GPU to run an engine on", "", cudaGetErrorString(status), kGroups);
  return std::to_string(major) + "." + std::to_string(minor);
}

}  // namespace

std::unique_ptr<Model> open_tensorrt(const Bundle& bundle, const std::string& engine, int height, int width, std::string& flavour) {
  const std::string running = version_text(getInferLibVersion());
  const std::string own = engine.empty() ? bundle.engine_for(running, compute_capability()) : "";
  if (engine.empty() && own.empty()) return nullptr;
  const std::string path = own.empty() ? engine : own;
  const std::string content = own.empty() ? read_file(engine, "input", size_t{4} << 30) : bundle.file(own);
  check_plan(content, path, running);
  flavour = "tensorrt";
  return std::make_unique<Tensorrt>(content, path, height, width);
}

}  // namespace edgekd
