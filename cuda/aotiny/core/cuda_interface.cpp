#include "aotiny/core/cuda_interface.h"

#include "aotiny/core/check.h"
#include "aotiny/core/driver.h"
#include "aotiny/core/graph.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/modules.h"
#include "aotiny/core/ruin.h"
#include "aotiny/core/status.h"
#include "aotiny/core/stream.h"
#include "aotiny/core/upload.h"
#include "aotiny/kernels/copy.h"

namespace aotiny::cuda {
namespace {

cudaStream_t as_stream(void* stream) { return static_cast<cudaStream_t>(stream); }

int attribute(cudaDeviceAttr name, int device) {
  int value = 0;
  AOTINY_CUDA_CHECK(cudaDeviceGetAttribute(&value, name, device));
  return value;
}

}  // namespace

CudaInterface& cuda_interface() {
  static CudaInterface& instance = *new CudaInterface;
  return instance;
}

CudaInterface::CudaInterface() {
  for (int device = 0; device < cuda::device_count(); ++device)
    generators_.push_back(std::make_unique<Generator>(device));
}

int CudaInterface::device_count() noexcept { return cuda::device_count(); }

DeviceProperties CudaInterface::properties(Device device) {
  const DeviceGuard guard(device.index);
  cudaDeviceProp found{};
  AOTINY_CUDA_CHECK(cudaGetDeviceProperties(&found, device.index));
  size_t free_bytes = 0, total_bytes = 0;
  AOTINY_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  DeviceProperties properties;
  properties.name = found.name;
  properties.compute_capability_major = found.major;
  properties.compute_capability_minor = found.minor;
  properties.total_bytes = total_bytes;
  properties.free_bytes = free_bytes;
  properties.num_multiprocessors = found.multiProcessorCount;
  properties.l2_cache_bytes = static_cast<uint64_t>(found.l2CacheSize);
  properties.max_shared_memory_bytes =
      static_cast<uint64_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device.index));
  return properties;
}

int CudaInterface::driver_version() {
  int version = 0;
  AOTINY_CUDA_CHECK(cudaDriverGetVersion(&version));
  return version;
}

int CudaInterface::runtime_version() {
  int version = 0;
  AOTINY_CUDA_CHECK(cudaRuntimeGetVersion(&version));
  return version;
}

void CudaInterface::set_memory_limit(Device device, uint64_t nbytes) {
  allocator_.set_limit(device, nbytes);
}

void* CudaInterface::current_stream(Device device) { return cuda::current_stream(device.index); }

void CudaInterface::set_current_stream(Device device, void* stream) {
  cuda::set_current_stream(device.index, as_stream(stream));
}

void CudaInterface::wait_for_stream(Device device, void* waiting, void* stream) {
  cuda::wait_for_stream(device.index, as_stream(waiting), device.index, as_stream(stream));
}

void CudaInterface::synchronize(Device device) {
  const DeviceGuard guard(device.index);
  synchronize_device();
}

void CudaInterface::manual_seed(Device device, uint64_t seed) {
  generator(device).manual_seed(seed);
}

uint64_t CudaInterface::seed(Device device) { return generator(device).seed(); }

Generator& CudaInterface::generator(Device device) {
  check_device(device.index);
  return *generators_[static_cast<size_t>(device.index)];
}

std::unique_ptr<DeviceStream> CudaInterface::make_stream(Device device) {
  return std::make_unique<OwnStream>(device.index);
}

std::unique_ptr<DeviceEvent> CudaInterface::make_event(Device device) {
  return std::make_unique<OwnEvent>(device.index);
}

std::unique_ptr<DeviceGraph> CudaInterface::record(Device device, void* stream,
                                                   const std::function<void()>& work) {
  return record_graph(device.index, as_stream(stream), work);
}

void CudaInterface::outside_capture(const std::function<void()>& work) {
  const OutsideCapture outside;
  work();
}

void CudaInterface::push_current(int index) { push_device(index); }

void CudaInterface::pop_current() noexcept { pop_device(); }

std::vector<void*>* CudaInterface::collect_modules(std::vector<void*>* modules) noexcept {
  return cuda::collect_modules(modules);
}

void CudaInterface::unload_modules(const std::vector<void*>& modules) noexcept {
  cuda::unload_modules(modules);
}

void CudaInterface::check_memory(const void* data, Device device) {
  const DeviceGuard guard(device.index);
  cudaPointerAttributes found{};
  AOTINY_CUDA_CHECK(cudaPointerGetAttributes(&found, data));
  if (found.type == cudaMemoryTypeUnregistered) {
    require(attribute(cudaDevAttrPageableMemoryAccess, device.index) != 0, Status::InvalidArgument,
            "the memory at ", data, " is not CUDA's, so ", device, " cannot use it");
  } else if (found.type == cudaMemoryTypeDevice) {
    require(found.device == device.index, Status::InvalidArgument, "the memory at ", data,
            " is on cuda:", found.device, ", not on ", device);
  }
}

std::string CudaInterface::take_error(Device device) noexcept {
  try {
    const DeviceGuard guard(device.index);
    (void)cudaGetLastError();
    const cudaStream_t stream = cuda::current_stream(device.index);
    if (capture_id(stream) != kNoCapture) return "";  // asking would spoil the capture
    const cudaError_t code = cudaStreamQuery(stream);
    (void)cudaGetLastError();
    // A stream that is still busy, or no more, is not the device's ruin.
    if (is_ruin(code)) AOTINY_CUDA_CHECK(code);
    return "";
  } catch (const Error& error) {
    return error.status() == Status::InvalidArgument ? "" : error.what();
  } catch (...) {  // no memory for the sentence
    return "";
  }
}

void CudaInterface::upload(void* destination, Device device, const void* source, size_t nbytes) {
  upload_staged(destination, device.index, source, nbytes, pinned_);
}

void CudaInterface::transfer(void* destination, Device destination_device, const void* source,
                             Device source_device, size_t nbytes, bool non_blocking) {
  if (destination_device == kCPU) {
    transfer_with_host(destination, source, destination, source_device.index, nbytes, non_blocking);
  } else if (source_device == kCPU) {
    transfer_with_host(destination, source, source, destination_device.index, nbytes, non_blocking);
  } else {
    transfer_to_peer(destination, destination_device.index, source, source_device.index, nbytes);
  }
}

void CudaInterface::transfer_with_host(void* destination, const void* source, const void* host,
                                       int device, size_t nbytes, bool non_blocking) {
  const DeviceGuard guard(device);
  const cudaStream_t stream = cuda::current_stream(device);
  require(non_blocking || capture_id(stream) == kNoCapture, Status::InvalidState,
          "a copy between host and device waits for the stream, which is not possible while a "
          "stream is being captured");
  AOTINY_CUDA_CHECK(cudaMemcpyAsync(destination, source, nbytes, cudaMemcpyDefault, stream));
  if (non_blocking) {
    pinned_.record_use(host, device, stream);
  } else {
    AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream));
  }
}

// The copy runs in the destination's stream, after what the source's stream holds; what comes later
// in the source's stream may overwrite or free the source, and waits for it.
void CudaInterface::transfer_to_peer(void* destination, int destination_device, const void* source,
                                     int source_device, size_t nbytes) {
  const cudaStream_t to = cuda::current_stream(destination_device);
  const cudaStream_t from = cuda::current_stream(source_device);
  cuda::wait_for_stream(destination_device, to, source_device, from);
  {
    const DeviceGuard guard(destination_device);
    AOTINY_CUDA_CHECK(
        cudaMemcpyPeerAsync(destination, destination_device, source, source_device, nbytes, to));
  }
  cuda::wait_for_stream(source_device, from, destination_device, to);
}

void CudaInterface::copy(const StridedCopy& copy, Device device) {
  const DeviceGuard guard(device.index);
  const cudaStream_t stream = cuda::current_stream(device.index);
  if (copy.is_one_block()) {
    const size_t nbytes = static_cast<size_t>(copy.dims[0].size) * itemsize(copy.source_dtype);
    AOTINY_CUDA_CHECK(
        cudaMemcpyAsync(copy.destination, copy.source, nbytes, cudaMemcpyDeviceToDevice, stream));
    return;
  }
  copy_strided(copy, stream);
}

void CudaInterface::zero(void* data, size_t nbytes, Device device) {
  const DeviceGuard guard(device.index);
  AOTINY_CUDA_CHECK(cudaMemsetAsync(data, 0, nbytes, cuda::current_stream(device.index)));
}

bool CudaInterface::is_capturing(Device device) {
  const DeviceGuard guard(device.index);
  return capture_id(cuda::current_stream(device.index)) != kNoCapture;
}

}  // namespace aotiny::cuda
