// For the tests only: the part of onnxruntime's C API that deploy/cpp calls, written down from its public description.
//
// The real header comes with onnxruntime's release archive, not with its Python wheel. The API is one table of functions in a
// fixed order that is only ever added to, so a table with the right functions at the right places is the same to the program.
// The places are proven by running: against the library of the installed wheel, every result must be that of Python.
#pragma once

#include <cstddef>
#include <cstdint>

struct OrtStatus;
struct OrtEnv;
struct OrtSessionOptions;
struct OrtSession;
struct OrtRunOptions;
struct OrtAllocator;
struct OrtMemoryInfo;
struct OrtValue;
struct OrtTensorTypeAndShapeInfo;

enum OrtLoggingLevel { ORT_LOGGING_LEVEL_ERROR = 3 };
enum ExecutionMode { ORT_SEQUENTIAL = 0 };
enum GraphOptimizationLevel { ORT_ENABLE_ALL = 99 };
enum OrtAllocatorType { OrtArenaAllocator = 1 };
enum OrtMemType { OrtMemTypeDefault = 0 };
enum ONNXTensorElementDataType { ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED = 0, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1 };

#define AT(first, last) void* not_used_here_##first[(last) - (first) + 1]
#define CALL(name, ...) OrtStatus* (*name)(__VA_ARGS__) noexcept

struct OrtApi {
  AT(0, 1);
  const char* (*GetErrorMessage)(const OrtStatus*) noexcept;  // 2
  CALL(CreateEnv, OrtLoggingLevel, const char*, OrtEnv**);
  AT(4, 7);
  CALL(CreateSessionFromArray, const OrtEnv*, const void*, size_t, const OrtSessionOptions*, OrtSession**);  // 8
  CALL(Run, OrtSession*, const OrtRunOptions*, const char* const*, const OrtValue* const*, size_t, const char* const*, size_t, OrtValue**);
  CALL(CreateSessionOptions, OrtSessionOptions**);
  AT(11, 12);
  CALL(SetSessionExecutionMode, OrtSessionOptions*, ExecutionMode);  // 13
  AT(14, 21);
  CALL(SetSessionLogSeverityLevel, OrtSessionOptions*, int);  // 22
  CALL(SetSessionGraphOptimizationLevel, OrtSessionOptions*, GraphOptimizationLevel);
  CALL(SetIntraOpNumThreads, OrtSessionOptions*, int);
  CALL(SetInterOpNumThreads, OrtSessionOptions*, int);
  AT(26, 35);
  CALL(SessionGetInputName, const OrtSession*, size_t, OrtAllocator*, char**);  // 36
  CALL(SessionGetOutputName, const OrtSession*, size_t, OrtAllocator*, char**);
  AT(38, 48);
  CALL(CreateTensorWithDataAsOrtValue, const OrtMemoryInfo*, void*, size_t, const int64_t*, size_t, ONNXTensorElementDataType, OrtValue**);  // 49
  AT(50, 50);
  CALL(GetTensorMutableData, OrtValue*, void**);  // 51
  AT(52, 59);
  CALL(GetTensorElementType, const OrtTensorTypeAndShapeInfo*, ONNXTensorElementDataType*);  // 60
  AT(61, 63);
  CALL(GetTensorShapeElementCount, const OrtTensorTypeAndShapeInfo*, size_t*);  // 64
  CALL(GetTensorTypeAndShape, const OrtValue*, OrtTensorTypeAndShapeInfo**);
  AT(66, 68);
  CALL(CreateCpuMemoryInfo, OrtAllocatorType, OrtMemType, OrtMemoryInfo**);  // 69
  AT(70, 75);
  CALL(AllocatorFree, OrtAllocator*, void*);  // 76
  AT(77, 77);
  CALL(GetAllocatorWithDefaultOptions, OrtAllocator**);  // 78
  AT(79, 91);
  void (*ReleaseEnv)(OrtEnv*) noexcept;  // 92
  void (*ReleaseStatus)(OrtStatus*) noexcept;
  void (*ReleaseMemoryInfo)(OrtMemoryInfo*) noexcept;
  void (*ReleaseSession)(OrtSession*) noexcept;
  void (*ReleaseValue)(OrtValue*) noexcept;
  AT(97, 98);
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo*) noexcept;  // 99
  void (*ReleaseSessionOptions)(OrtSessionOptions*) noexcept;
  AT(101, 129);
  CALL(AddSessionConfigEntry, OrtSessionOptions*, const char*, const char*);  // 130
};

#undef AT
#undef CALL

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t) noexcept;
  const char* (*GetVersionString)() noexcept;
};

extern "C" const OrtApiBase* OrtGetApiBase(void) noexcept;
