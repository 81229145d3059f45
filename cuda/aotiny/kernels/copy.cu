#include <algorithm>

#include "aotiny/kernels/convert.cuh"
#include "aotiny/kernels/copy.h"
#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace {

constexpr int kThreads = 256;

struct Dims {
  int count;
  bool is_narrow;  // every index fits 32 bits, whose division is several times faster
  LoopDim dims[kMaxDims];
};

struct Offsets {
  int64_t destination;
  int64_t source;
};

__device__ Offsets offsets_of(int64_t index, const Dims& dims) {
  Offsets offsets{0, 0};
  for (int d = dims.count - 1; d > 0; --d) {
    const LoopDim& dim = dims.dims[d];
    const int64_t outer =
        dims.is_narrow
            ? static_cast<int64_t>(static_cast<uint32_t>(index) / static_cast<uint32_t>(dim.size))
            : index / dim.size;
    const int64_t inner = index - outer * dim.size;
    offsets.destination += inner * dim.destination_stride;
    offsets.source += inner * dim.source_stride;
    index = outer;
  }
  offsets.destination += index * dims.dims[0].destination_stride;
  offsets.source += index * dims.dims[0].source_stride;
  return offsets;
}

// Loads an element of a dtype that is only known now. All threads take the same branch, and with
// one kernel a destination type there are 13 kernels to compile, not 169.
template <class To>
__device__ To load_as(const void* source, int64_t offset, DType dtype) {
  const auto load = [&](auto type) {
    return convert<To>(static_cast<const decltype(type)*>(source)[offset]);
  };
  switch (dtype) {
    case DType::UInt8:
      return load(uint8_t{});
    case DType::Int8:
      return load(int8_t{});
    case DType::Int16:
      return load(int16_t{});
    case DType::Int32:
      return load(int32_t{});
    case DType::Int64:
      return load(int64_t{});
    case DType::Float16:
      return load(__half{});
    case DType::Float32:
      return load(float{});
    case DType::Float64:
      return load(double{});
    case DType::Bool:
      return load(bool{});
    case DType::BFloat16:
      return load(__nv_bfloat16{});
    case DType::UInt16:
      return load(uint16_t{});
    case DType::UInt32:
      return load(uint32_t{});
    default:
      return load(uint64_t{});
  }
}

template <class To>
__global__ void __launch_bounds__(kThreads)
    convert_kernel(To* destination, const void* source, DType source_dtype, int64_t numel,
                   const __grid_constant__ Dims dims) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < numel; i += step) {
    const Offsets offsets = offsets_of(i, dims);
    destination[offsets.destination] = load_as<To>(source, offsets.source, source_dtype);
  }
}

// Between equal dtypes only bytes move: one kernel a width.
template <class Bytes>
__global__ void __launch_bounds__(kThreads)
    move_kernel(Bytes* destination, const Bytes* source, int64_t numel,
                const __grid_constant__ Dims dims) {
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < numel; i += step) {
    const Offsets offsets = offsets_of(i, dims);
    destination[offsets.destination] = source[offsets.source];
  }
}

template <class Bytes>
void move(const StridedCopy& copy, int64_t numel, const Dims& dims, cudaStream_t stream) {
  launch(move_kernel<Bytes>, grid_for(numel, kThreads), kThreads, stream,
         static_cast<Bytes*>(copy.destination), static_cast<const Bytes*>(copy.source), numel,
         dims);
}

template <class T>
struct OnDevice {
  using type = T;
};
template <>
struct OnDevice<Float16> {
  using type = __half;
};
template <>
struct OnDevice<BFloat16> {
  using type = __nv_bfloat16;
};

}  // namespace

void copy_strided(const StridedCopy& copy, cudaStream_t stream) {
  require(copy.dims.size() <= kMaxDims, Status::InvalidArgument, "copy: ", copy.dims.size(),
          " dimensions, at most ", kMaxDims, " are supported");
  Dims dims{static_cast<int>(copy.dims.size()), true, {}};
  std::copy(copy.dims.begin(), copy.dims.end(), dims.dims);
  int64_t numel = 1;
  for (const LoopDim& dim : copy.dims) numel *= dim.size;
  dims.is_narrow = numel <= UINT32_MAX;

  if (copy.destination_dtype != copy.source_dtype) {
    visit_dtype(copy.destination_dtype, "copy", [&](auto tag) {
      using To = typename OnDevice<typename decltype(tag)::type>::type;
      launch(convert_kernel<To>, grid_for(numel, kThreads), kThreads, stream,
             static_cast<To*>(copy.destination), copy.source, copy.source_dtype, numel, dims);
    });
    return;
  }
  switch (itemsize(copy.source_dtype)) {
    case 1:
      return move<uint8_t>(copy, numel, dims, stream);
    case 2:
      return move<uint16_t>(copy, numel, dims, stream);
    case 4:
      return move<uint32_t>(copy, numel, dims, stream);
    case 8:
      return move<uint64_t>(copy, numel, dims, stream);
    default:
      return move<ulonglong2>(copy, numel, dims, stream);
  }
}

}  // namespace aotiny::cuda
