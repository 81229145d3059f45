// Four elements a thread, eight threads a block of 32.
#include "aotiny/kernels/cuda_quantize_activations.h"

#include <algorithm>

#include "aotiny/kernels/convert.cuh"
#include "aotiny/kernels/launch.cuh"

namespace aotiny::cuda {
namespace {

constexpr int kPerThread = 4;
constexpr int kLanes = kBlock / kPerThread;  // a block's threads
constexpr int64_t kMaxThreads = 256;
constexpr int64_t kMaxRows = 65535;  // of the grid; thread blocks step through the rest
constexpr uint32_t kMagnitude = 0x7fffffffu;
constexpr uint32_t kInfinity = 0x7f800000u;
constexpr uint32_t kNaN = 0x7fc00000u;

template <class T>
struct alignas(kPerThread * sizeof(T)) Quad {
  T values[kPerThread];
};

template <class T>
__device__ void load(const T* x, bool aligned, float (&values)[kPerThread]) {
  Quad<T> quad;
  if (aligned) {
    quad = *reinterpret_cast<const Quad<T>*>(x);
  } else {
    for (int i = 0; i < kPerThread; ++i) quad.values[i] = x[i];
  }
  for (int i = 0; i < kPerThread; ++i) values[i] = convert<float>(quad.values[i]);
}

// The result of `combine` over a block's eight threads, in all of them.
template <class T, class Combine>
__device__ T over_block(uint32_t threads, T value, Combine combine) {
  for (int step = 1; step < kLanes; step *= 2) {
    value = combine(value, __shfl_xor_sync(threads, value, step));
  }
  return value;
}

template <class T>
__global__ void __launch_bounds__(kMaxThreads)
    quantize_kernel(const __grid_constant__ QuantizeActivations work, bool aligned) {
  const int64_t k = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * kPerThread;
  if (k >= work.k) return;  // a block's eight threads together
  const uint32_t threads = 0xffu << (threadIdx.x & 24);
  const int place = static_cast<int>(k % kBlock);
  for (int64_t row = blockIdx.y; row < work.batch * work.m; row += gridDim.y) {
    const T* x =
        static_cast<const T*>(work.x) + row / work.m * work.x_batch + row % work.m * work.x_row + k;
    float values[kPerThread];
    load(x, aligned, values);
    // As bits, whose order is that of the magnitudes, with infinity and NaN above all.
    uint32_t largest = 0;
    for (const float value : values) largest = max(largest, __float_as_uint(value) & kMagnitude);
    largest = over_block(threads, largest, [](uint32_t a, uint32_t b) { return max(a, b); });
    const bool finite = largest < kInfinity;
    const float d = __fdiv_rn(__uint_as_float(largest), 127.0f);
    const bool usable = finite && d > 0;
    int codes[kPerThread];
    int sum = 0;
    for (int i = 0; i < kPerThread; ++i) {
      codes[i] = usable ? max(-127, min(127, __float2int_rn(__fdiv_rn(values[i], d)))) : 0;
      sum += codes[i];
    }
    const int first_sum =
        over_block(threads, place < kBlock / 2 ? sum : 0, [](int a, int b) { return a + b; });
    sum = over_block(threads, sum, [](int a, int b) { return a + b; });

    int8_t* q = work.q + row * work.k + (k - place);
    if (work.order == KOrder::Natural) {
      *reinterpret_cast<char4*>(q + place) = make_char4(codes[0], codes[1], codes[2], codes[3]);
    } else {
      *reinterpret_cast<char2*>(q + place / 2) = make_char2(codes[0], codes[2]);
      *reinterpret_cast<char2*>(q + (place + kBlock) / 2) = make_char2(codes[1], codes[3]);
    }
    if (place == 0) {
      work.blocks[(row * work.k + k) / kBlock] = {finite ? d : __uint_as_float(kNaN),
                                                  static_cast<float>(sum),
                                                  static_cast<float>(first_sum), 0};
    }
  }
}

}  // namespace

void quantize_activations(const QuantizeActivations& work, cudaStream_t stream) {
  const int64_t threads_of_row = work.k / kPerThread;
  const int64_t threads = std::min((threads_of_row + 31) / 32 * 32, kMaxThreads);
  const dim3 grid(static_cast<unsigned>((threads_of_row + threads - 1) / threads),
                  static_cast<unsigned>(std::min(work.batch * work.m, kMaxRows)));
  const auto quad = static_cast<uint64_t>(kPerThread * itemsize(work.dtype));
  const bool aligned = reinterpret_cast<uintptr_t>(work.x) % quad == 0 &&
                       work.x_batch % kPerThread == 0 && work.x_row % kPerThread == 0;
  const auto kernel = work.dtype == DType::Float32   ? quantize_kernel<float>
                      : work.dtype == DType::Float16 ? quantize_kernel<__half>
                                                     : quantize_kernel<__nv_bfloat16>;
  launch(kernel, grid, static_cast<int>(threads), stream, work, aligned);
}

}  // namespace aotiny::cuda
