#include "aotiny/core/dlpack.h"

#include <cstring>
#include <memory>
#include <vector>

namespace aotiny::dlpack {
namespace {

// Codes of DLDataTypeCode.
struct DTypeCode {
  DType dtype;
  uint8_t code;
};
constexpr uint8_t kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6;
constexpr DTypeCode kDTypeCodes[] = {
    {DType::Int8, kInt},
    {DType::Int16, kInt},
    {DType::Int32, kInt},
    {DType::Int64, kInt},
    {DType::UInt8, kUInt},
    {DType::UInt16, kUInt},
    {DType::UInt32, kUInt},
    {DType::UInt64, kUInt},
    {DType::Float16, kFloat},
    {DType::Float32, kFloat},
    {DType::Float64, kFloat},
    {DType::BFloat16, kBfloat},
    {DType::ComplexFloat16, kComplex},
    {DType::ComplexFloat32, kComplex},
    {DType::ComplexFloat64, kComplex},
    {DType::Bool, kBool},
    {DType::Float8E4M3FN, 10},
    {DType::Float8E4M3FNUZ, 11},
    {DType::Float8E5M2, 12},
    {DType::Float8E5M2FNUZ, 13},
};

DataType data_type(DType dtype) {
  for (const DTypeCode& entry : kDTypeCodes) {
    if (entry.dtype == dtype) {
      return {entry.code, static_cast<uint8_t>(8 * itemsize(dtype)), 1};
    }
  }
  fail(Status::InvalidType, "DLPack has no type for ", dtype);
}

DType dtype_from(DataType type) {
  for (const DTypeCode& entry : kDTypeCodes) {
    if (entry.code == type.code && 8 * itemsize(entry.dtype) == type.bits && type.lanes == 1) {
      return entry.dtype;
    }
  }
  fail(Status::InvalidType, "DLPack type code ", int{type.code}, " with ", int{type.bits},
       " bits and ", type.lanes, " lanes is not supported");
}

Device device_from(DeviceInfo info) {
  switch (info.device_type) {
    case kCpuDevice:
    case kCudaHostDevice:
      return kCPU;
    case kCudaDevice:
      return device_from_codes(static_cast<int32_t>(DeviceType::CUDA), info.device_id);
    default:
      fail(Status::NotSupported, "DLPack device type ", info.device_type,
           " is not supported: only 1 (CPU), 2 (CUDA) and 3 (pinned host memory) are");
  }
}

// What an exported tensor needs to stay valid; it owns the managed struct itself too.
template <class Managed>
struct Holder {
  Managed managed{};
  Tensor tensor;
  std::vector<int64_t> sizes;
  std::vector<int64_t> strides;
};

// Copies element by element, which is the only use of strides that may be negative.
Tensor copy_with_negative_strides(const char* data, IntSpan sizes, IntSpan strides, DType dtype) {
  Tensor copy = Tensor::empty(sizes, dtype);
  const int64_t width = static_cast<int64_t>(itemsize(dtype));
  char* to = static_cast<char*>(copy.raw_data());
  std::vector<int64_t> index(sizes.size(), 0);
  for (int64_t i = 0; i < copy.numel(); ++i) {
    int64_t offset = 0;
    for (size_t d = 0; d < sizes.size(); ++d) offset += index[d] * strides[d];
    std::memcpy(to + i * width, data + offset * width, static_cast<size_t>(width));
    for (size_t d = sizes.size(); d-- > 0 && ++index[d] == sizes[d];) index[d] = 0;
  }
  return copy;
}

}  // namespace

DeviceInfo device_info(Device device) {
  if (device.type == DeviceType::CPU) return {kCpuDevice, 0};
  return {kCudaDevice, device.index};
}

template <class Managed>
Managed* export_tensor(const Tensor& tensor, uint64_t flags) {
  auto holder = std::make_unique<Holder<Managed>>();
  holder->tensor = tensor;
  holder->sizes.assign(tensor.sizes().begin(), tensor.sizes().end());
  holder->strides.assign(tensor.strides().begin(), tensor.strides().end());
  Managed& managed = holder->managed;
  managed.tensor = {tensor.raw_data(),
                    device_info(tensor.device()),
                    static_cast<int32_t>(tensor.ndim()),
                    data_type(tensor.dtype()),
                    holder->sizes.data(),
                    holder->strides.data(),
                    0};
  managed.deleter = [](Managed* self) { delete static_cast<Holder<Managed>*>(self->manager_ctx); };
  if constexpr (std::is_same_v<Managed, ManagedTensorVersioned>) {
    managed.version = kVersion;
    managed.flags = flags;
  } else {
    require(flags == 0, Status::InvalidArgument, "flags ", flags,
            " need a versioned DLPack tensor");
  }
  managed.manager_ctx = holder.get();
  return &holder.release()->managed;
}

template <class Managed>
Tensor import_tensor(Managed* managed, bool& copied) {
  copied = false;
  if constexpr (std::is_same_v<Managed, ManagedTensorVersioned>) {
    require(managed->version.major == kVersion.major, Status::NotSupported, "DLPack version ",
            managed->version.major, ".", managed->version.minor, " is not supported: only ",
            kVersion.major, ".x is");
  }
  const TensorInfo& info = managed->tensor;
  const DType dtype = dtype_from(info.dtype);
  const Device device = device_from(info.device);
  require(info.ndim >= 0 && info.ndim <= kMaxDims, Status::InvalidArgument, "DLPack tensor has ",
          info.ndim, " dimensions");
  require(info.ndim == 0 || info.shape != nullptr, Status::InvalidArgument,
          "DLPack tensor has no shape");
  const IntSpan sizes(info.shape, static_cast<size_t>(info.ndim));
  const int64_t numel = checked_numel(sizes);
  std::vector<int64_t> strides = contiguous_strides(sizes);
  bool negative = false;
  if (info.strides != nullptr) {
    for (int32_t d = 0; d < info.ndim; ++d) {
      if (numel > 0 && sizes[d] > 1) strides[d] = info.strides[d];
      negative = negative || strides[d] < 0;
    }
  }
  char* data = static_cast<char*>(info.data);
  if (data != nullptr) data += info.byte_offset;

  const auto release = [](void* context, void*, size_t, Device) noexcept {
    auto* owner = static_cast<Managed*>(context);
    if (owner->deleter != nullptr) owner->deleter(owner);
  };
  if (negative) {
    require(device == kCPU, Status::NotSupported, "negative strides on ", device,
            " are not supported");
    Tensor copy = copy_with_negative_strides(data, sizes, strides, dtype);
    copied = true;
    release(managed, nullptr, 0, device);
    return copy;
  }
  return Tensor::from_blob(data, sizes, strides, 0, dtype, device, Deleter{release, managed});
}

template ManagedTensor* export_tensor(const Tensor&, uint64_t);
template ManagedTensorVersioned* export_tensor(const Tensor&, uint64_t);
template Tensor import_tensor(ManagedTensor*, bool&);
template Tensor import_tensor(ManagedTensorVersioned*, bool&);

}  // namespace aotiny::dlpack
