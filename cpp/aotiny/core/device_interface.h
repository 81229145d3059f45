// What a device library offers. The core knows a device only through this interface.
//
// The CUDA library, libaotiny_cuda.so.0, lies beside libaotiny and is opened the first time that a
// CUDA device is asked for something; nothing before that looks for a driver or a GPU. Whatever
// goes to a device is ordered by a stream: the calling thread's current stream of that device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "aotiny/core/allocator.h"
#include "aotiny/core/device.h"
#include "aotiny/core/device_stream.h"
#include "aotiny/core/dtype.h"

namespace aotiny {

class WeightKernels;  // quant/weight_kernels.h

// One dimension of a copy; strides in elements.
struct LoopDim {
  int64_t size;
  int64_t destination_stride;
  int64_t source_stride;
};

// An elementwise copy on one device. Neither side is empty, and they do not overlap.
struct StridedCopy {
  void* destination;
  const void* source;
  DType destination_dtype;
  DType source_dtype;
  std::vector<LoopDim> dims;  // outermost first, merged where both sides allow it; at least one

  // Whether it only moves bytes that lie in a row on both sides.
  bool is_one_block() const noexcept {
    return destination_dtype == source_dtype && dims.size() == 1 &&
           dims[0].destination_stride == 1 && dims[0].source_stride == 1;
  }
};

struct DeviceProperties {
  std::string name;
  int compute_capability_major = 0;
  int compute_capability_minor = 0;
  uint64_t total_bytes = 0;
  uint64_t free_bytes = 0;  // now, for every process together
  int num_multiprocessors = 0;
  uint64_t l2_cache_bytes = 0;
  uint64_t max_shared_memory_bytes = 0;  // that one block can ask for
};

// Every function that takes a device fails with InvalidArgument if there is no such device. A
// stream is the device library's own handle (for CUDA a cudaStream_t); null is its default stream.
class DeviceInterface {
 public:
  virtual ~DeviceInterface() = default;

  virtual int device_count() noexcept = 0;  // at least 1
  virtual DeviceProperties properties(Device device) = 0;
  // Versions of the driver and of the runtime library, as 1000·major + 10·minor.
  virtual int driver_version() = 0;
  virtual int runtime_version() = 0;

  virtual Allocator& allocator() noexcept = 0;
  // Memory of the host that the device reads and writes directly; its Device is the CPU's.
  virtual Allocator& pinned_allocator() noexcept = 0;
  // The most that the allocator hands out at a time; 0 for no limit.
  virtual void set_memory_limit(Device device, uint64_t nbytes) = 0;

  // The calling thread's stream for the device.
  virtual void* current_stream(Device device) = 0;
  virtual void set_current_stream(Device device, void* stream) = 0;
  // Work put into `waiting` from now on begins after what is in `stream` by now.
  virtual void wait_for_stream(Device device, void* waiting, void* stream) = 0;
  // Returns once everything that was put into any stream of the device is done.
  virtual void synchronize(Device device) = 0;

  // The seed of the device's random numbers, which another one each time begins with; setting it
  // begins its sequence anew.
  virtual void manual_seed(Device device, uint64_t seed) = 0;
  virtual uint64_t seed(Device device) = 0;

  virtual std::unique_ptr<DeviceStream> make_stream(Device device) = 0;
  virtual std::unique_ptr<DeviceEvent> make_event(Device device) = 0;
  // Runs `work` on this thread with the stream, one of make_stream's, as the current one; what it
  // puts there is recorded instead of run. If `work` throws, or does what cannot be recorded,
  // recording ends, nothing of it is kept, and the failure is thrown. `work` may be called several
  // times: what another thread does can spoil a recording.
  virtual std::unique_ptr<DeviceGraph> record(Device device, void* stream,
                                              const std::function<void()>& work) = 0;

  // Runs `work`, whose calls have nothing to do with streams that are being captured. While there
  // are such, by whomever, CUDA would refuse some calls that allocate, free or load.
  virtual void outside_capture(const std::function<void()>& work) = 0;

  // Makes the device of this index the one that code which names none works on, on this thread, and
  // its driver ready for that thread, until pop_current() brings the one before back. Compiled
  // models rely on it. See DeviceScope.
  virtual void push_current(int index) = 0;
  virtual void pop_current() noexcept = 0;
  // Where the modules go that compiled code which would never unload them loads on this thread:
  // into a list, or nowhere while that is null. Returns the list before.
  virtual std::vector<void*>* collect_modules(std::vector<void*>* modules) noexcept = 0;
  virtual void unload_modules(const std::vector<void*>& modules) noexcept = 0;
  // Fails with InvalidArgument unless work on the device can use the memory at this address.
  virtual void check_memory(const void* data, Device device) = 0;

  // Clears what a failed call of somebody else's code left behind. The sentence of an error that
  // has ruined the device for this process, otherwise "".
  virtual std::string take_error(Device device) noexcept = 0;

  // Moves bytes from one device to another, one of which is this library's. Between host and device
  // it returns when the bytes have arrived, and waits for no other stream; with `non_blocking` it
  // may return before that if the host's memory is pinned, which must then be left alone until the
  // stream is synchronised.
  virtual void transfer(void* destination, Device destination_device, const void* source,
                        Device source_device, size_t nbytes, bool non_blocking) = 0;
  // From any memory of the host, a part at a time through pinned memory; returns when the bytes
  // have arrived. For large amounts, such as weights in a mapped file.
  virtual void upload(void* destination, Device device, const void* source, size_t nbytes) = 0;
  // Within one device.
  virtual void copy(const StridedCopy& copy, Device device) = 0;
  virtual void zero(void* data, size_t nbytes, Device device) = 0;

  // Whether the calling thread's stream for the device is being captured into a graph: then nothing
  // may wait for it.
  virtual bool is_capturing(Device device) = 0;
  // What is computed with quantized weights.
  virtual WeightKernels& weight_kernels() noexcept = 0;
};

// The interface of a device type other than the CPU; opens its library. Fails with NotFound and one
// sentence that says which piece is missing: the library, the CUDA runtime, the driver, the GPU.
// A failure is not kept: the next call tries again.
DeviceInterface& device_interface(DeviceType type);

// The handle that dlopen gave for the device library, whose symbols can be looked up where there is
// no device, or no driver, to work with. Fails with NotFound if it cannot be opened.
void* device_library(DeviceType type);

// For a scope, on this thread, a device is the one that compiled code finds current; with a stream,
// that is its current one too. Does nothing for the CPU.
class DeviceScope {
 public:
  explicit DeviceScope(Device device);
  DeviceScope(Device device, void* stream);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  Device device_;
  DeviceInterface* interface_ = nullptr;  // null for the CPU
  bool has_stream_ = false;
  void* previous_stream_ = nullptr;
};

// The soname of the CUDA library, by which models depend on it.
inline constexpr const char* kCudaLibrary = "libaotiny_cuda.so.0";

// The function of this name in a device library hands its interface out. It fails for a libaotiny
// of another version, and where there is no device to work with.
inline constexpr const char* kOpenDeviceLibrary = "aotiny_cuda_open";
using OpenDeviceLibrary = int32_t (*)(const char* version, DeviceInterface** ret_interface);

}  // namespace aotiny
