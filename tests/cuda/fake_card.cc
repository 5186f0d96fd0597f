// A stand-in for the CUDA runtime, to be preloaded: two devices whose memory is the host's and which run no kernels.
//
// Whatever a stream is given happens at once, on the calling thread, or is recorded if the stream is being captured.
// What is not defined here is left to the real runtime, which fails for want of a driver.

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <typeindex>
#include <utility>
#include <vector>

namespace {

constexpr int kDevices = 2;
constexpr size_t kDeviceMemory = size_t{1} << 30;  // of each device
constexpr size_t kAlignment = 512;                 // of every allocation
constexpr int kMajor = 9;                          // compute capability
constexpr int kMinor = 0;

struct Graph {
  std::vector<std::function<void()>> work;
};

// Shared by the streams and events that have joined it. `graph` is only to be used while it is active.
struct Capture {
  unsigned long long id;
  Graph* graph;
  const void* origin;  // the stream that began it
  bool active = true;
};

struct Stream {
  int device;
  std::shared_ptr<Capture> capture = nullptr;
};

struct Event {
  int device;
  std::shared_ptr<Capture> capture = nullptr;  // that of the stream that recorded it
};

struct Device {
  Stream default_stream;
  int waits = 0;             // of the host, for one of its streams
  size_t allocated = 0;      // bytes
  bool has_context = false;  // CUDA makes one when the device is first used, and torch asks whether there is one
};

struct Allocation {
  size_t bytes;
  cudaMemoryType type;
  int device;
};

struct State {
  std::mutex mutex;  // guards all that follows, and what handles point to
  std::array<Device, kDevices> devices = {Device{Stream{0}}, Device{Stream{1}}};
  std::map<uintptr_t, Allocation> allocations;     // by address
  std::map<const void*, std::type_index> handles;  // streams, events and graphs in existence, and which it is
  unsigned long long captures = 0;                 // begun so far
  int active_captures = 0;
};

State& state = *new State;  // never destroyed: torch calls while the process exits

using Lock = std::lock_guard<std::mutex>;

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;

cudaError_t Return(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

bool IsDevice(int device) { return device >= 0 && device < kDevices; }

// ---- The caller of what follows, up to the next such line, holds the lock

// The current device, which is given a context.
Device& UseDevice() {
  Device& device = state.devices[static_cast<size_t>(current_device)];
  device.has_context = true;
  return device;
}

template <class Object, class Handle>
Handle AddHandle(Object* object) {
  state.handles.emplace(object, typeid(Object));
  return reinterpret_cast<Handle>(object);
}

// Null if there is no such object (any more).
template <class Object, class Handle>
Object* Find(Handle handle) {
  const auto found = state.handles.find(handle);
  const bool exists = found != state.handles.end() && found->second == typeid(Object);
  return exists ? reinterpret_cast<Object*>(handle) : nullptr;
}

Stream* FindStream(cudaStream_t handle) {
  const bool is_default = handle == nullptr || handle == cudaStreamLegacy || handle == cudaStreamPerThread;
  return is_default ? &state.devices[static_cast<size_t>(current_device)].default_stream : Find<Stream>(handle);
}

template <class Object>  // Stream or Event
bool IsCapturing(const Object& object) {
  return object.capture != nullptr && object.capture->active;
}

// Null if the byte belongs to none.
const std::pair<const uintptr_t, Allocation>* FindAllocation(const void* address) {
  const auto& allocations = state.allocations;
  const uintptr_t byte = reinterpret_cast<uintptr_t>(address);
  auto found = allocations.upper_bound(byte);
  if (found == allocations.begin()) return nullptr;
  --found;
  return byte - found->first < found->second.bytes ? &*found : nullptr;
}

// ---- What follows takes the lock

bool IsInDeviceMemory(const void* address, size_t bytes) {
  const Lock lock(state.mutex);
  const auto* const found = FindAllocation(address);
  return found != nullptr && found->second.type == cudaMemoryTypeDevice &&
         bytes <= found->second.bytes - (reinterpret_cast<uintptr_t>(address) - found->first);
}

cudaError_t Allocate(void** address, size_t bytes, cudaMemoryType type) {
  const Lock lock(state.mutex);
  Device& device = UseDevice();
  const bool on_device = type == cudaMemoryTypeDevice;
  *address = nullptr;
  if (bytes == 0) return cudaSuccess;
  if (on_device && bytes > kDeviceMemory - device.allocated) return Return(cudaErrorMemoryAllocation);
  *address = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
  if (*address == nullptr) return Return(cudaErrorMemoryAllocation);
  if (on_device) device.allocated += bytes;
  state.allocations[reinterpret_cast<uintptr_t>(*address)] = {bytes, type, current_device};
  return cudaSuccess;
}

cudaError_t Free(void* address, cudaMemoryType type) {
  const Lock lock(state.mutex);
  UseDevice();
  if (address == nullptr) return cudaSuccess;
  const auto found = state.allocations.find(reinterpret_cast<uintptr_t>(address));
  if (found == state.allocations.end() || found->second.type != type) return Return(cudaErrorInvalidValue);
  const Allocation& allocation = found->second;
  if (type == cudaMemoryTypeDevice) state.devices[static_cast<size_t>(allocation.device)].allocated -= allocation.bytes;
  state.allocations.erase(found);
  std::free(address);
  return cudaSuccess;
}

template <class Object, class Handle>
cudaError_t Destroy(Handle handle) {
  const Lock lock(state.mutex);
  Object* const object = Find<Object>(handle);
  if (object == nullptr) return Return(cudaErrorInvalidResourceHandle);
  state.handles.erase(object);
  delete object;
  return cudaSuccess;
}

cudaError_t Enqueue(cudaStream_t handle, std::function<void()> work) {
  {
    const Lock lock(state.mutex);
    UseDevice();
    const Stream* const stream = FindStream(handle);
    if (stream == nullptr) return Return(cudaErrorInvalidResourceHandle);
    if (IsCapturing(*stream)) {
      stream->capture->graph->work.push_back(std::move(work));
      return cudaSuccess;
    }
  }
  work();
  return cudaSuccess;
}

// Whether the host may wait for the stream, or ask about it.
cudaError_t CheckWait(cudaStream_t handle) {
  const Lock lock(state.mutex);
  const Stream* const stream = FindStream(handle);
  if (stream == nullptr) return Return(cudaErrorInvalidResourceHandle);
  return Return(IsCapturing(*stream) ? cudaErrorStreamCaptureUnsupported : cudaSuccess);
}

cudaError_t CheckWait(cudaEvent_t handle) {
  const Lock lock(state.mutex);
  const Event* const event = Find<Event>(handle);
  if (event == nullptr) return Return(cudaErrorInvalidResourceHandle);
  return Return(IsCapturing(*event) ? cudaErrorCapturedEvent : cudaSuccess);
}

// There are no kernels; but a stream of another device is the graver mistake.
cudaError_t Launch(cudaStream_t handle) {
  const Lock lock(state.mutex);
  const Stream* const stream = FindStream(handle);
  const bool usable = stream != nullptr && stream->device == current_device;
  return Return(usable ? cudaErrorNoKernelImageForDevice : cudaErrorInvalidResourceHandle);
}

}  // namespace

// ---- For tests

extern "C" int fake_card_current_device() { return current_device; }

// The stream's device (a default stream's is the current one), or -1.
extern "C" int fake_card_stream_device(void* handle) {
  const Lock lock(state.mutex);
  const Stream* const stream = FindStream(static_cast<cudaStream_t>(handle));
  return stream != nullptr ? stream->device : -1;
}

// How often the host has waited for a stream of the device.
extern "C" int fake_card_waits(int device) {
  const Lock lock(state.mutex);
  return state.devices.at(static_cast<size_t>(device)).waits;
}

// The device whose memory is at the address, or -1.
extern "C" int fake_card_memory_device(const void* address) {
  const Lock lock(state.mutex);
  const auto* const found = FindAllocation(address);
  return found != nullptr && found->second.type == cudaMemoryTypeDevice ? found->second.device : -1;
}

// An allocator for torch to be given.
extern "C" void* fake_card_allocate(ssize_t bytes, int /*device*/, cudaStream_t /*stream*/) {
  void* address = nullptr;
  cudaMalloc(&address, static_cast<size_t>(bytes));
  return address;
}
extern "C" void fake_card_free(void* address, ssize_t /*bytes*/, int /*device*/, cudaStream_t /*stream*/) {
  cudaFree(address);
}

// ---- Devices and errors

cudaError_t cudaGetLastError() { return std::exchange(last_error, cudaSuccess); }
cudaError_t cudaPeekAtLastError() { return last_error; }

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorInvalidResourceHandle:
      return "invalid resource handle";
    case cudaErrorNoKernelImageForDevice:
      return "no kernel image is available for execution on the device";
    default:
      return "an error of the fake card's";
  }
}

cudaError_t cudaDriverGetVersion(int* version) { return *version = CUDART_VERSION, cudaSuccess; }
cudaError_t cudaGetDeviceCount(int* count) { return *count = kDevices, cudaSuccess; }
cudaError_t cudaGetDevice(int* device) { return *device = current_device, cudaSuccess; }

cudaError_t cudaSetDevice(int device) {
  if (!IsDevice(device)) return Return(cudaErrorInvalidDevice);
  current_device = device;
  const Lock lock(state.mutex);
  UseDevice();
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!IsDevice(device)) return Return(cudaErrorInvalidDevice);
  *properties = {};
  std::snprintf(properties->name, sizeof(properties->name), "Fake card %d", device);
  properties->uuid.bytes[0] = static_cast<char>(device + 1);
  properties->pciBusID = device + 1;
  properties->totalGlobalMem = kDeviceMemory;
  properties->major = kMajor;
  properties->minor = kMinor;
  properties->multiProcessorCount = 1;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = properties->maxThreadsPerMultiProcessor = 1024;
  for (int i = 0; i < 3; ++i) properties->maxThreadsDim[i] = properties->maxGridSize[i] = 1024;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = -1;
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int device, int peer) {
  if (!IsDevice(device) || !IsDevice(peer)) return Return(cudaErrorInvalidDevice);
  return *can = device != peer, cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int peer, unsigned /*flags*/) {
  return Return(IsDevice(peer) && peer != current_device ? cudaSuccess : cudaErrorInvalidDevice);
}

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(state.mutex);
  UseDevice();
  return Return(state.active_captures == 0 ? cudaSuccess : cudaErrorStreamCaptureUnsupported);
}

// ---- Memory

cudaError_t cudaMalloc(void** address, size_t bytes) { return Allocate(address, bytes, cudaMemoryTypeDevice); }
cudaError_t cudaFree(void* address) { return Free(address, cudaMemoryTypeDevice); }

cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned /*flags*/) {
  return Allocate(address, bytes, cudaMemoryTypeHost);
}
cudaError_t cudaFreeHost(void* address) { return Free(address, cudaMemoryTypeHost); }

cudaError_t cudaMemGetInfo(size_t* available, size_t* total) {
  const Lock lock(state.mutex);
  *available = kDeviceMemory - UseDevice().allocated;
  *total = kDeviceMemory;
  return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const Lock lock(state.mutex);
  *attributes = {};
  attributes->device = cudaInvalidDeviceId;
  attributes->hostPointer = const_cast<void*>(address);
  if (const auto* const found = FindAllocation(address)) {
    attributes->type = found->second.type;
    attributes->device = found->second.device;
    attributes->devicePointer = const_cast<void*>(address);
    if (found->second.type == cudaMemoryTypeDevice) attributes->hostPointer = nullptr;
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind kind, cudaStream_t stream) {
  if (width == 0 || height == 0) return cudaSuccess;
  if (to_pitch < width || from_pitch < width) return Return(cudaErrorInvalidPitchValue);
  const bool to_device = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
  const bool from_device = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if ((to_device && !IsInDeviceMemory(to, to_pitch * (height - 1) + width)) ||
      (from_device && !IsInDeviceMemory(from, from_pitch * (height - 1) + width))) {
    return Return(cudaErrorInvalidValue);
  }
  return Enqueue(stream, [=] {
    for (size_t i = 0; i < height; ++i) {
      std::memmove(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, width);
    }
  });
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
  return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (bytes != 0 && !IsInDeviceMemory(to, bytes)) return Return(cudaErrorInvalidValue);
  return Enqueue(stream, [=] { std::memset(to, value, bytes); });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }

// ---- Streams

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned /*flags*/, int /*priority*/) {
  const Lock lock(state.mutex);
  UseDevice();
  *stream = AddHandle<Stream, cudaStream_t>(new Stream{current_device});
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) { return Destroy<Stream>(stream); }

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  if (const cudaError_t error = CheckWait(handle)) return error;
  const Lock lock(state.mutex);
  const Stream* const stream = FindStream(handle);
  ++state.devices.at(static_cast<size_t>(stream->device)).waits;
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return CheckWait(stream); }

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event_handle, unsigned /*flags*/) {
  const Lock lock(state.mutex);
  Stream* const stream = FindStream(handle);
  const Event* const event = Find<Event>(event_handle);
  if (stream == nullptr || event == nullptr) return Return(cudaErrorInvalidResourceHandle);
  if (IsCapturing(*event)) {
    if (IsCapturing(*stream) && stream->capture != event->capture) return Return(cudaErrorStreamCaptureMerge);
    stream->capture = event->capture;
  }
  return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return Enqueue(stream, [=] { function(data); });
}

// ---- Events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned /*flags*/) {
  const Lock lock(state.mutex);
  UseDevice();
  *event = AddHandle<Event, cudaEvent_t>(new Event{current_device});
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, cudaEventDefault); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { return Destroy<Event>(event); }

// CUDA asks that event and stream be of one device; that it be the current one is asked here alone, since a caller that
// has another device current has forgotten a guard.
cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t stream_handle, unsigned /*flags*/) {
  const Lock lock(state.mutex);
  Event* const event = Find<Event>(handle);
  const Stream* const stream = FindStream(stream_handle);
  if (event == nullptr || stream == nullptr || event->device != stream->device || stream->device != current_device) {
    return Return(cudaErrorInvalidResourceHandle);
  }
  event->capture = stream->capture;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, cudaEventRecordDefault);
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return CheckWait(event); }
cudaError_t cudaEventSynchronize(cudaEvent_t event) { return CheckWait(event); }

// ---- Graphs

// The mode changes nothing here: while a stream is captured, all may be called but what waits.
cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(capture_mode, *mode);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode /*mode*/) {
  const Lock lock(state.mutex);
  Stream* const stream = Find<Stream>(handle);
  if (stream == nullptr) return Return(cudaErrorStreamCaptureUnsupported);  // CUDA captures no default stream either
  if (IsCapturing(*stream)) return Return(cudaErrorIllegalState);
  Graph* const graph = new Graph;
  AddHandle<Graph, cudaGraph_t>(graph);
  stream->capture = std::make_shared<Capture>(Capture{++state.captures, graph, stream});
  ++state.active_captures;
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  const Lock lock(state.mutex);
  *graph = nullptr;
  Stream* const stream = FindStream(handle);
  if (stream == nullptr) return Return(cudaErrorInvalidResourceHandle);
  if (!IsCapturing(*stream)) return Return(cudaErrorIllegalState);
  if (stream->capture->origin != stream) return Return(cudaErrorStreamCaptureUnmatched);
  stream->capture->active = false;
  --state.active_captures;
  *graph = reinterpret_cast<cudaGraph_t>(stream->capture->graph);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  const Lock lock(state.mutex);
  const Stream* const stream = FindStream(handle);
  if (stream == nullptr) return Return(cudaErrorInvalidResourceHandle);
  *status = IsCapturing(*stream) ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}

// Names no dependencies: whoever asks learns of a graph without edges.
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t** dependencies,
                                     const cudaGraphEdgeData** edges, size_t* dependency_count) {
  const Lock lock(state.mutex);
  const Stream* const stream = FindStream(handle);
  if (stream == nullptr) return Return(cudaErrorInvalidResourceHandle);
  const bool capturing = IsCapturing(*stream);
  *status = capturing ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  if (id != nullptr) *id = capturing ? stream->capture->id : 0;
  if (graph != nullptr) *graph = capturing ? reinterpret_cast<cudaGraph_t>(stream->capture->graph) : nullptr;
  if (dependencies != nullptr) *dependencies = nullptr;
  if (edges != nullptr) *edges = nullptr;
  if (dependency_count != nullptr) *dependency_count = 0;
  return cudaSuccess;
}

// Only how many there are.
cudaError_t cudaGraphGetNodes(cudaGraph_t handle, cudaGraphNode_t* nodes, size_t* count) {
  const Lock lock(state.mutex);
  const Graph* const graph = Find<Graph>(handle);
  if (graph == nullptr) return Return(cudaErrorInvalidValue);
  if (nodes != nullptr) return Return(cudaErrorNotSupported);
  return *count = graph->work.size(), cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* executable, cudaGraph_t handle,
                                          unsigned long long /*flags*/) {
  const Lock lock(state.mutex);
  const Graph* const graph = Find<Graph>(handle);
  if (graph == nullptr) return Return(cudaErrorInvalidValue);
  *executable = AddHandle<Graph, cudaGraphExec_t>(new Graph(*graph));
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t stream) {
  Graph graph;
  {
    const Lock lock(state.mutex);
    const Graph* const found = Find<Graph>(handle);
    if (found == nullptr) return Return(cudaErrorInvalidValue);
    graph = *found;
  }
  return Enqueue(stream, [graph] {
    for (const auto& work : graph.work) work();
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) { return Destroy<Graph>(graph); }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) { return Destroy<Graph>(executable); }

// ---- Kernels

// Called for <<<...>>>; declared by no header that the host's compiler takes.
extern "C" cudaError_t __cudaLaunchKernel(cudaKernel_t /*kernel*/, dim3 /*grid*/, dim3 /*block*/, void** /*arguments*/,
                                          size_t /*shared_bytes*/, cudaStream_t stream) {
  return Launch(stream);
}

cudaError_t cudaLaunchKernel(const void* /*function*/, dim3 /*grid*/, dim3 /*block*/, void** /*arguments*/,
                             size_t /*shared_bytes*/, cudaStream_t stream) {
  return Launch(stream);
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* /*function*/, void** /*arguments*/) {
  return Launch(config->stream);
}

// ---- The driver, whose name this library bears for those who load it by name

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned* flags, int* active) {
  if (!IsDevice(device)) return CUDA_ERROR_INVALID_DEVICE;
  const Lock lock(state.mutex);
  *flags = 0;
  *active = state.devices[static_cast<size_t>(device)].has_context;
  return CUDA_SUCCESS;
}
