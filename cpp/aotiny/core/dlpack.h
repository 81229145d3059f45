// Tensors to and from DLPack, without a copy.
//
// The structures are those of the DLPack 1.x binary interface (dmlc.github.io/dlpack), which is
// fixed; they are declared here so that no header has to be found.
#pragma once

#include <cstdint>

#include "aotiny/core/tensor.h"

namespace aotiny::dlpack {

struct Version {
  uint32_t major;
  uint32_t minor;
};
inline constexpr Version kVersion{1, 0};

enum DeviceCode : int32_t { kCpuDevice = 1, kCudaDevice = 2, kCudaHostDevice = 3 };

struct DeviceInfo {
  int32_t device_type;  // a DeviceCode
  int32_t device_id;
};

struct DataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};

struct TensorInfo {
  void* data;
  DeviceInfo device;
  int32_t ndim;
  DataType dtype;
  int64_t* shape;
  int64_t* strides;  // in elements; null for row-major
  uint64_t byte_offset;
};

// The form without a version, for consumers that do not ask for one.
struct ManagedTensor {
  TensorInfo tensor;
  void* manager_ctx;
  void (*deleter)(ManagedTensor* self);
};

inline constexpr uint64_t kReadOnly = 1;
inline constexpr uint64_t kIsCopied = 2;

struct ManagedTensorVersioned {
  Version version;
  void* manager_ctx;
  void (*deleter)(ManagedTensorVersioned* self);
  uint64_t flags;
  TensorInfo tensor;
};

// The functions that a library puts behind `__dlpack_c_exchange_api__` of its tensor type, from
// version 1.3 on: what __dlpack__ does without a capsule and without a call of Python. They return
// 0, or -1 with a Python exception set, and need Python's lock.
struct ExchangeApi {
  Version version;
  ExchangeApi* previous;
  void* allocate;
  int (*export_tensor)(void* object, ManagedTensorVersioned** out);
  void* import_tensor;
  int (*describe)(void* object, TensorInfo* out);  // borrowed; may be null
  void* current_stream;
};

DeviceInfo device_info(Device device);

// A new managed tensor that shares the tensor's storage until its deleter is called, from any
// thread. `Managed` is ManagedTensor or ManagedTensorVersioned (whose flags are set as given).
template <class Managed>
Managed* export_tensor(const Tensor& tensor, uint64_t flags = 0);

// A tensor that shares the producer's memory and calls its deleter when the last view is gone. On
// failure (InvalidType for a dtype, NotSupported for a device that aotiny does not have,
// InvalidArgument) the producer's tensor is left alone and still belongs to the caller. Negative
// strides, which a Tensor cannot have, are copied, and `copied` is set.
template <class Managed>
Tensor import_tensor(Managed* managed, bool& copied);

}  // namespace aotiny::dlpack
