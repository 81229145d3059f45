// The DeviceInterface of CUDA.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "aotiny/core/cuda_allocator.h"
#include "aotiny/core/device_interface.h"
#include "aotiny/core/generator.h"
#include "aotiny/core/pinned.h"
#include "aotiny/kernels/cuda_weight_kernels.h"

namespace aotiny::cuda {

class CudaInterface final : public DeviceInterface {
 public:
  CudaInterface();

  int device_count() noexcept override;
  DeviceProperties properties(Device device) override;
  int driver_version() override;
  int runtime_version() override;

  CudaAllocator& allocator() noexcept override { return allocator_; }
  PinnedAllocator& pinned_allocator() noexcept override { return pinned_; }
  void set_memory_limit(Device device, uint64_t nbytes) override;

  void* current_stream(Device device) override;
  void set_current_stream(Device device, void* stream) override;
  void wait_for_stream(Device device, void* waiting, void* stream) override;
  void synchronize(Device device) override;

  void manual_seed(Device device, uint64_t seed) override;
  uint64_t seed(Device device) override;
  Generator& generator(Device device);

  std::unique_ptr<DeviceStream> make_stream(Device device) override;
  std::unique_ptr<DeviceEvent> make_event(Device device) override;
  std::unique_ptr<DeviceGraph> record(Device device, void* stream,
                                      const std::function<void()>& work) override;
  void outside_capture(const std::function<void()>& work) override;
  void push_current(int index) override;
  void pop_current() noexcept override;
  std::vector<void*>* collect_modules(std::vector<void*>* modules) noexcept override;
  void unload_modules(const std::vector<void*>& modules) noexcept override;
  void check_memory(const void* data, Device device) override;
  std::string take_error(Device device) noexcept override;

  void transfer(void* destination, Device destination_device, const void* source,
                Device source_device, size_t nbytes, bool non_blocking) override;
  void upload(void* destination, Device device, const void* source, size_t nbytes) override;
  void copy(const StridedCopy& copy, Device device) override;
  void zero(void* data, size_t nbytes, Device device) override;

  bool is_capturing(Device device) override;
  CudaWeightKernels& weight_kernels() noexcept override { return weight_kernels_; }

 private:
  void transfer_to_peer(void* destination, int destination_device, const void* source,
                        int source_device, size_t nbytes);
  void transfer_with_host(void* destination, const void* source, const void* host, int device,
                          size_t nbytes, bool non_blocking);

  CudaAllocator allocator_;
  PinnedAllocator pinned_;
  CudaWeightKernels weight_kernels_;
  std::vector<std::unique_ptr<Generator>> generators_;  // one a device
};

// The one of this process; never destroyed, since tensors may outlive main().
CudaInterface& cuda_interface();

}  // namespace aotiny::cuda
