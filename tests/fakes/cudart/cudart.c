/* A stand-in for CUDA's runtime library, in plain C: its memory is the host's, its streams run at once, its events read the real
   clock. Handles and addresses lie above 32 bits and are looked up: one that was cut, freed or never made is an error, as on a GPU.

   Environment: FAKE_CUDA_VERSION (12060: what cudaRuntimeGetVersion says; decides which cudaGraphInstantiate there is),
   FAKE_CUDA_FAIL="name:code[:nth call]" (that function returns that code, from its nth call on), FAKE_CUDA_MEMORY (bytes there
   are), FAKE_CUDA_DEVICES, FAKE_CUDA_CAPABILITY (87 for 8.7), FAKE_CUDA_LOG (a file: one line a call). At exit what was never released is written to that file.

   The fake tensorrt module enqueues by fake_enqueue: it computes at once, or notes the work in the graph that is being captured. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { MOST = 4096, SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_HANDLE = 400, NOT_READY = 600,
       ILLEGAL_STATE = 401, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901 };
enum { DEVICE = 1, HOST, STREAM, EVENT, GRAPH, EXECUTABLE };
static const char *KINDS[] = {"", "device memory", "pinned memory", "stream", "event", "graph", "executable graph"};

typedef void (*work_t)(void *);
typedef struct { int kind; size_t size; double time; int recorded; work_t work; void *argument; int invalid; } thing_t;
static struct { char *address; thing_t thing; } things[MOST];
static char *capturing; /* the stream that is being captured */
static thing_t captured;
static int last_error;
static size_t in_use;
static void *last_mark; /* the event recorded last: what waits for it has waited for all there is */
static int busy;        /* something was put on a stream that nobody has waited for */

static void say(const char *format, ...) {
    const char *path = getenv("FAKE_CUDA_LOG");
    FILE *file = path ? fopen(path, "a") : NULL;
    if (!file) return;
    va_list values;
    va_start(values, format);
    vfprintf(file, format, values);
    va_end(values);
    fputc('\n', file);
    fclose(file);
}

static int failing(const char *name, int *calls) {
    const char *asked = getenv("FAKE_CUDA_FAIL");
    char wanted[64];
    int code = 0, from = 1;
    ++*calls;
    say("%s", name);
    if (asked && sscanf(asked, "%63[^:]:%d:%d", wanted, &code, &from) >= 2 && !strcmp(wanted, name) && *calls >= from)
        return code;
    return 0;
}
#define CALL(name) static int calls; int told = failing(name, &calls); if (told) return last_error = told

static long number(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static thing_t *thing(const void *address, int kind) {
    for (int i = 0; i < MOST; i++)
        if (address && things[i].address == address && things[i].thing.kind == kind) return &things[i].thing;
    say("no such %s: %p", KINDS[kind], address);
    return NULL;
}

/* Whether size bytes from address lie within one allocation of this kind. */
static int inside(const void *address, size_t size, int kind) {
    for (int i = 0; i < MOST; i++)
        if (things[i].thing.kind == kind && (const char *)address >= things[i].address
            && (const char *)address + size <= things[i].address + things[i].thing.size) return 1;
    return 0;
}

/* Every address is a mapping of its own above 4 GiB, so that one cut to 32 bits can never be valid. */
static int make(void **out, int kind, size_t size) {
    static uintptr_t next = 0x500000000000;
    for (int i = 0; i < MOST; i++) {
        if (things[i].thing.kind) continue;
        size_t mapped = (size + 4095) / 4096 * 4096 + 4096;
        char *address = mmap((void *)next, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (address == MAP_FAILED) return OUT_OF_MEMORY;
        next += mapped + (1 << 20);
        memset(&things[i].thing, 0, sizeof(thing_t));
        things[i].address = address, things[i].thing.kind = kind, things[i].thing.size = size;
        *out = address;
        return SUCCESS;
    }
    return OUT_OF_MEMORY;
}

static int release(void *address, int kind) {
    thing_t *found = thing(address, kind);
    if (!found) return last_error = INVALID_HANDLE;
    if (kind == DEVICE) in_use -= found->size;
    if (kind == EXECUTABLE && busy) say("released while it may still run: an executable graph");
    munmap(address, (found->size + 4095) / 4096 * 4096 + 4096);
    found->kind = 0;
    return SUCCESS;
}

__attribute__((destructor)) void fake_leaks(void) {
    for (int i = 0; i < MOST; i++)
        if (things[i].thing.kind) say("never released: %s", KINDS[things[i].thing.kind]);
}

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1e3 + at.tv_nsec / 1e6;
}

const char *cudaGetErrorName(int code) {
    return code == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : code == 35 ? "cudaErrorInsufficientDriver"
         : code == 100 ? "cudaErrorNoDevice" : code == INVALID_HANDLE ? "cudaErrorInvalidResourceHandle"
         : code == 719 ? "cudaErrorLaunchFailure" : code == CAPTURE_INVALIDATED ? "cudaErrorStreamCaptureInvalidated"
         : code == INVALID_VALUE ? "cudaErrorInvalidValue" : "unrecognized error code";
}
const char *cudaGetErrorString(int code) { return code == OUT_OF_MEMORY ? "out of memory" : "words of the fake runtime"; }
int cudaGetLastError(void) { int code = last_error; last_error = 0; return code; }

int cudaRuntimeGetVersion(int *version) { CALL("cudaRuntimeGetVersion"); *version = number("FAKE_CUDA_VERSION", 12060); return 0; }
int cudaGetDeviceCount(int *count) { CALL("cudaGetDeviceCount"); *count = number("FAKE_CUDA_DEVICES", 1); return 0; }
int cudaGetDevice(int *device) { CALL("cudaGetDevice"); *device = 0; return 0; }
int cudaDeviceGetAttribute(int *value, int which, int device) {
    CALL("cudaDeviceGetAttribute");
    if (device != 0 || (which != 75 && which != 76)) return last_error = INVALID_VALUE;
    long capability = number("FAKE_CUDA_CAPABILITY", 87);
    *value = which == 75 ? capability / 10 : capability % 10;
    return 0;
}
int cudaSetDeviceFlags(unsigned flags) { CALL("cudaSetDeviceFlags"); return flags == 1 ? 0 : (last_error = INVALID_VALUE); }

int cudaMalloc(void **out, size_t size) {
    CALL("cudaMalloc");
    if (in_use + size > (size_t)number("FAKE_CUDA_MEMORY", 1L << 32)) return last_error = OUT_OF_MEMORY;
    int code = make(out, DEVICE, size);
    if (!code) in_use += size;
    return code;
}
int cudaFree(void *address) { CALL("cudaFree"); return release(address, DEVICE); }
int cudaHostAlloc(void **out, size_t size, unsigned flags) {
    CALL("cudaHostAlloc");
    return flags ? (last_error = INVALID_VALUE) : make(out, HOST, size);
}
int cudaFreeHost(void *address) { CALL("cudaFreeHost"); return release(address, HOST); }

int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    CALL("cudaMemcpyAsync");
    if (!thing(stream, STREAM)) return last_error = INVALID_HANDLE;
    int good = kind == 1 ? inside(to, size, DEVICE) && inside(from, size, HOST)
             : kind == 2 && inside(to, size, HOST) && inside(from, size, DEVICE);
    if (!good) return last_error = INVALID_VALUE;
    memcpy(to, from, size);
    return 0;
}

int cudaStreamCreateWithFlags(void **out, unsigned flags) {
    CALL("cudaStreamCreateWithFlags");
    return flags > 1 ? (last_error = INVALID_VALUE) : make(out, STREAM, 0);
}
int cudaStreamDestroy(void *stream) { CALL("cudaStreamDestroy"); return release(stream, STREAM); }
int cudaStreamSynchronize(void *stream) {
    CALL("cudaStreamSynchronize");
    if (!thing(stream, STREAM)) return last_error = INVALID_HANDLE;
    if (capturing == stream) { captured.invalid = 1; return last_error = CAPTURE_UNSUPPORTED; }
    busy = 0;
    return 0;
}

int cudaEventCreateWithFlags(void **out, unsigned flags) {
    CALL("cudaEventCreateWithFlags");
    return flags ? (last_error = INVALID_VALUE) : make(out, EVENT, 0);
}
int cudaEventDestroy(void *event) { CALL("cudaEventDestroy"); return release(event, EVENT); }
int cudaEventRecord(void *event, void *stream) {
    CALL("cudaEventRecord");
    thing_t *found = thing(event, EVENT);
    if (!found || !thing(stream, STREAM)) return last_error = INVALID_HANDLE;
    found->time = now(), found->recorded = 1;
    busy = 1, last_mark = event;
    return 0;
}
int cudaEventSynchronize(void *event) {
    CALL("cudaEventSynchronize");
    if (event == last_mark) busy = 0;
    return thing(event, EVENT) ? 0 : (last_error = INVALID_HANDLE);
}
int cudaEventElapsedTime(float *milliseconds, void *start, void *end) {
    CALL("cudaEventElapsedTime");
    thing_t *first = thing(start, EVENT), *second = thing(end, EVENT);
    if (!first || !second || !first->recorded || !second->recorded) return last_error = INVALID_HANDLE;
    *milliseconds = second->time - first->time;
    return 0;
}

int cudaStreamBeginCapture(void *stream, int mode) {
    CALL("cudaStreamBeginCapture");
    if (!thing(stream, STREAM) || mode != 1 || capturing) return last_error = INVALID_VALUE;
    capturing = stream;
    memset(&captured, 0, sizeof captured);
    return 0;
}
int cudaStreamEndCapture(void *stream, void **graph) {
    int was = capturing == stream;
    if (was) capturing = NULL; /* also when told to fail: no capture outlives this call */
    CALL("cudaStreamEndCapture");
    if (!was) return last_error = INVALID_VALUE;
    *graph = NULL;
    if (captured.invalid) return last_error = CAPTURE_INVALIDATED;
    int code = make(graph, GRAPH, 0);
    if (!code) thing(*graph, GRAPH)->work = captured.work, thing(*graph, GRAPH)->argument = captured.argument;
    return code;
}
int cudaGraphDestroy(void *graph) { CALL("cudaGraphDestroy"); return release(graph, GRAPH); }

/* Three arguments from CUDA 12 on, five before: what a caller of the other form passes shows in the third to fifth register. */
int cudaGraphInstantiate(void **out, void *graph, uintptr_t third, uintptr_t fourth, uintptr_t fifth) {
    CALL("cudaGraphInstantiate");
    thing_t *found = thing(graph, GRAPH);
    if (!found) return last_error = INVALID_HANDLE;
    if (number("FAKE_CUDA_VERSION", 12060) >= 12000) {
        if (third) return last_error = INVALID_VALUE; /* flags we did not mean */
    } else if (fifth > (1u << 20) || (fifth && !fourth)) {
        return last_error = INVALID_VALUE; /* the size of a log that is not there */
    }
    work_t work = found->work;
    void *argument = found->argument;
    int code = make(out, EXECUTABLE, 0);
    if (!code) thing(*out, EXECUTABLE)->work = work, thing(*out, EXECUTABLE)->argument = argument;
    return code;
}
int cudaGraphExecDestroy(void *executable) { CALL("cudaGraphExecDestroy"); return release(executable, EXECUTABLE); }
int cudaGraphLaunch(void *executable, void *stream) {
    CALL("cudaGraphLaunch");
    thing_t *found = thing(executable, EXECUTABLE);
    if (!found || !thing(stream, STREAM)) return last_error = INVALID_HANDLE;
    if (found->work) found->work(found->argument);
    busy = 1;
    return 0;
}

/* For the fake tensorrt module: 0 done or captured, else an error. uncapturable: as an engine with a synchronising layer. */
int fake_enqueue(void *stream, work_t work, void *argument, int uncapturable) {
    if (!thing(stream, STREAM)) return last_error = INVALID_HANDLE;
    if (capturing != stream) { work(argument); return 0; }
    if (uncapturable) { captured.invalid = 1; return last_error = CAPTURE_UNSUPPORTED; }
    captured.work = work, captured.argument = argument;
    return 0;
}
int fake_is_capturing(void *stream) { return capturing && capturing == stream; }
int fake_is_device_memory(void *address, size_t size) { return inside(address, size, DEVICE); }
