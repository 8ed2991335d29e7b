// TensorRT 10.3.0 on a GPU of compute capability 8.7 that is neither: device memory is memory, work is done when the stream is
// waited for, and the engine's logits are the input's sums over four equal parts. An engine whose byte 64 is set is refused.
// With $FAKE_NO_GPU there is no GPU.
#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

struct CUstream_st {
  float* in = nullptr;
  float* out = nullptr;
};

namespace {

constexpr int kImage = 3 * 8 * 8, kClasses = 4;
std::map<std::string, void*> addresses;
nvinfer1::ILogger* told = nullptr;

nvinfer1::Dims shape_of(const std::string& name) { return name == "input" ? nvinfer1::Dims{4, {-1, 3, 8, 8}} : nvinfer1::Dims{2, {-1, kClasses}}; }

}  // namespace

extern "C" {
int32_t getInferLibVersion() noexcept { return 100300; }
cudaError_t cudaMalloc(void** at, size_t size) { return *at = operator new(size), cudaSuccess; }
cudaError_t cudaFree(void* at) { return operator delete(at), cudaSuccess; }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t count, cudaMemcpyKind kind, cudaStream_t stream) {
  if (kind == cudaMemcpyDeviceToHost) cudaStreamSynchronize(stream);
  return std::memcpy(to, from, count), cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) { return *stream = new CUstream_st, cudaSuccess; }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { return delete stream, cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  for (int i = 0; stream->out && i < kClasses; ++i) stream->out[i] = 0;
  for (int i = 0; stream->in && i < kImage; ++i) stream->out[i / (kImage / kClasses)] += stream->in[i];
  stream->in = stream->out = nullptr;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) { return *device = 0, std::getenv("FAKE_NO_GPU") ? static_cast<cudaError_t>(100) : cudaSuccess; }
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) { return *value = which == cudaDevAttrComputeCapabilityMajor ? 8 : 7, cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "an error"; }
}

namespace nvinfer1 {

bool IExecutionContext::setInputShape(char const*, Dims const& shape) noexcept { return shape.d[0] == 1; }
Dims IExecutionContext::getTensorShape(char const* name) const noexcept { Dims shape = shape_of(name); return shape.d[0] = 1, shape; }
bool IExecutionContext::setTensorAddress(char const* name, void* data) noexcept { return addresses[name] = data, true; }
bool IExecutionContext::enqueueV3(cudaStream_t stream) noexcept {
  stream->in = static_cast<float*>(addresses["input"]), stream->out = static_cast<float*>(addresses["logits"]);
  return true;
}
IExecutionContext* ICudaEngine::createExecutionContext() noexcept { return new IExecutionContext; }
int32_t ICudaEngine::getNbIOTensors() const noexcept { return 2; }
char const* ICudaEngine::getIOTensorName(int32_t index) const noexcept { return index ? "logits" : "input"; }
TensorIOMode ICudaEngine::getTensorIOMode(char const* name) const noexcept { return std::strcmp(name, "input") ? TensorIOMode::kOUTPUT : TensorIOMode::kINPUT; }
DataType ICudaEngine::getTensorDataType(char const*) const noexcept { return DataType::kFLOAT; }
Dims ICudaEngine::getTensorShape(char const* name) const noexcept { return shape_of(name); }
ICudaEngine* IRuntime::deserializeCudaEngine(void const* blob, std::size_t size) noexcept {
  if (size > 64 && static_cast<const char*>(blob)[64] == 0) return new ICudaEngine;
  told->log(ILogger::Severity::kERROR, "generated on an incompatible device, expecting compute 8.7 got compute 8.6, please rebuild");
  return nullptr;
}
IRuntime* createInferRuntime(ILogger& logger) noexcept { return told = &logger, new IRuntime; }

}  // namespace nvinfer1
