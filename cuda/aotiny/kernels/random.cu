#include "aotiny/kernels/random.h"

#include <cmath>

#include "aotiny/kernels/convert.cuh"
#include "aotiny/kernels/launch.cuh"
#include "aotiny/kernels/philox.cuh"

namespace aotiny::cuda {
namespace {

// Which thread makes which element is part of the sequence: so these are torch's numbers.
constexpr int kThreads = 256;

int64_t num_blocks(int64_t numel) {
  int device = 0, multiprocessors = 0, threads = 0;
  AOTINY_CUDA_CHECK(cudaGetDevice(&device));
  AOTINY_CUDA_CHECK(
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  AOTINY_CUDA_CHECK(
      cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device));
  return std::min<int64_t>((numel + kThreads - 1) / kThreads,
                           int64_t{multiprocessors} * (threads / kThreads));
}

__device__ RandomState state_of(const RandomSource& source) {
  return source.taken != nullptr ? *source.taken : source.state;
}

// In (0, 1].
__device__ float unit_float(uint32_t bits) { return bits * 0x1p-32f + 0x1p-33f; }
__device__ double unit_double(uint32_t low, uint32_t high) {
  const uint64_t bits = low ^ (uint64_t{high} << 21);
  return bits * 0x1p-53 + 0x1p-54;
}

// Two independent normal numbers from two uniform ones, by Box and Muller's method.
__device__ float2 normal_floats(uint32_t x, uint32_t y) {
  constexpr float kTwoPi = 6.2831855f;
  const float radius = sqrtf(-2.0f * logf(unit_float(x)));
  float2 result;
  __sincosf(y * (0x1p-32f * kTwoPi) + 0x1p-33f * kTwoPi, &result.x, &result.y);
  return {result.x * radius, result.y * radius};
}
__device__ double2 normal_doubles(uint4 bits) {
  const double radius = sqrt(-2.0 * log(unit_double(bits.x, bits.y)));
  double2 result;
  sincospi(2.0 * unit_double(bits.z, bits.w), &result.x, &result.y);
  return {result.x * radius, result.y * radius};
}

// A distribution draws kNumbers numbers from 128 random bits, and makes an element of each.
template <class T>
struct Uniform {
  using Number = std::conditional_t<std::is_same_v<T, double>, double, float>;
  static constexpr int kNumbers = 16 / sizeof(Number);
  Number from, to, range;

  __device__ static void draw(uint4 bits, float (&numbers)[4]) {
    numbers[0] = unit_float(bits.x);
    numbers[1] = unit_float(bits.y);
    numbers[2] = unit_float(bits.z);
    numbers[3] = unit_float(bits.w);
  }
  __device__ static void draw(uint4 bits, double (&numbers)[2]) {
    numbers[0] = unit_double(bits.x, bits.y);
    numbers[1] = unit_double(bits.z, bits.w);
  }
  // 1 occurs, and so do numbers that are rounded to 1; 0 does not.
  __device__ T element(Number number) const {
    const T value = convert<T>(number * range + from);
    return convert<Number>(value) == to ? convert<T>(from) : value;
  }
};

template <class T>
struct Normal {
  using Number = std::conditional_t<std::is_same_v<T, double>, double, float>;
  static constexpr int kNumbers = 16 / sizeof(Number);
  Number mean, std;

  __device__ static void draw(uint4 bits, float (&numbers)[4]) {
    const float2 first = normal_floats(bits.x, bits.y), second = normal_floats(bits.z, bits.w);
    numbers[0] = first.x;
    numbers[1] = first.y;
    numbers[2] = second.x;
    numbers[3] = second.y;
  }
  __device__ static void draw(uint4 bits, double (&numbers)[2]) {
    const double2 both = normal_doubles(bits);
    numbers[0] = both.x;
    numbers[1] = both.y;
  }
  __device__ T element(Number number) const { return convert<T>(number * std + mean); }
};

template <class T, class Bits>
struct Integers {
  using Number = Bits;
  static constexpr int kNumbers = 16 / sizeof(Number);
  uint64_t low, range;

  __device__ static void draw(uint4 bits, uint32_t (&numbers)[4]) {
    numbers[0] = bits.x;
    numbers[1] = bits.y;
    numbers[2] = bits.z;
    numbers[3] = bits.w;
  }
  __device__ static void draw(uint4 bits, uint64_t (&numbers)[2]) {
    numbers[0] = uint64_t{bits.x} << 32 | bits.y;
    numbers[1] = uint64_t{bits.z} << 32 | bits.w;
  }
  __device__ T element(Number number) const {
    return convert<T>(static_cast<int64_t>(number % range + low));
  }
};

template <class T, class Distribution>
__global__ void __launch_bounds__(kThreads)
    fill_kernel(T* out, int64_t numel, Distribution distribution, RandomSource source) {
  const int64_t all_threads = int64_t{gridDim.x} * kThreads;
  const int64_t thread = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  Philox philox(state_of(source), thread);
  for (int64_t first = thread; first < numel; first += all_threads * Distribution::kNumbers) {
    typename Distribution::Number numbers[Distribution::kNumbers];
    Distribution::draw(philox.next(), numbers);
#pragma unroll
    for (int i = 0; i < Distribution::kNumbers; ++i) {
      const int64_t at = first + i * all_threads;
      if (at < numel) out[at] = distribution.element(numbers[i]);
    }
  }
}

template <class T, class Distribution>
void fill(void* out, int64_t numel, const Distribution& distribution, RandomSource source,
          cudaStream_t stream) {
  if (numel == 0) return;
  launch(fill_kernel<T, Distribution>, dim3(static_cast<unsigned>(num_blocks(numel))), kThreads,
         stream, static_cast<T*>(out), numel, distribution, source);
}

// Calls f with a value of the device's type for a floating-point dtype.
template <class F>
void visit_floating(DType dtype, const char* what, F&& f) {
  switch (dtype) {
    case DType::Float16:
      return f(__half{});
    case DType::BFloat16:
      return f(__nv_bfloat16{});
    case DType::Float32:
      return f(float{});
    case DType::Float64:
      return f(double{});
    default:
      fail(Status::InvalidType, what, ": dtype ", dtype, " is not supported");
  }
}

__global__ void take_kernel(RandomState* generator, uint64_t count, RandomState* taken) {
  auto* offset = reinterpret_cast<unsigned long long*>(&generator->offset);
  *taken = {generator->seed, atomicAdd(offset, static_cast<unsigned long long>(count))};
}

// The first of equal keys shuffles all of them, by Fisher and Yates' method.
__global__ void __launch_bounds__(kThreads)
    shuffle_kernel(const uint64_t* keys, uint32_t* values, int64_t n, uint64_t mask,
                   RandomSource source) {
  const int64_t first = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (first >= n - 1 || ((keys[first] ^ keys[first + 1]) & mask) != 0) return;
  if (first > 0 && ((keys[first] ^ keys[first - 1]) & mask) == 0) return;
  int64_t count = 2;
  while (first + count < n && ((keys[first] ^ keys[first + count]) & mask) == 0) ++count;

  Philox philox(state_of(source), first);
  uint4 bits{};
  for (int64_t i = count - 1, drawn = 0; i > 0; --i, ++drawn) {
    if (drawn % 4 == 0) bits = philox.next();
    const uint32_t number = bits.x;
    bits = make_uint4(bits.y, bits.z, bits.w, 0);
    const int64_t other = number % (i + 1);
    const uint32_t value = values[first + i];
    values[first + i] = values[first + other];
    values[first + other] = value;
  }
}

__global__ void __launch_bounds__(kThreads) range_kernel(uint32_t* values, int64_t n) {
  for (int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n;
       i += int64_t{gridDim.x} * kThreads) {
    values[i] = static_cast<uint32_t>(i);
  }
}

}  // namespace

uint64_t random_offsets(int64_t numel, int numbers) {
  if (numel == 0) return 0;
  const int64_t at_once = num_blocks(numel) * kThreads * numbers;
  return static_cast<uint64_t>((numel - 1) / at_once + 1) * 4;
}

int random_numbers(DType dtype) { return dtype == DType::Float64 ? 2 : 4; }

// Below 2^28, the remainder of 32 bits is even enough.
int random_numbers(uint64_t range) { return range >= uint64_t{1} << 28 ? 2 : 4; }

void take_offsets(RandomState* generator, uint64_t count, RandomState* taken, cudaStream_t stream) {
  launch(take_kernel, dim3(1), 1, stream, generator, rounded_offsets(count), taken);
}

void fill_uniform(DType dtype, void* out, int64_t numel, double from, double to,
                  RandomSource source, cudaStream_t stream) {
  visit_floating(dtype, "uniform", [&](auto element) {
    using T = decltype(element);
    using Number = typename Uniform<T>::Number;
    // The bounds as the dtype has them.
    const auto low = static_cast<Number>(T(from)), high = static_cast<Number>(T(to));
    fill<T>(out, numel, Uniform<T>{low, high, static_cast<Number>(T(high - low))}, source, stream);
  });
}

void fill_normal(DType dtype, void* out, int64_t numel, double mean, double std,
                 RandomSource source, cudaStream_t stream) {
  visit_floating(dtype, "normal", [&](auto element) {
    using T = decltype(element);
    using Number = typename Normal<T>::Number;
    fill<T>(out, numel, Normal<T>{static_cast<Number>(mean), static_cast<Number>(std)}, source,
            stream);
  });
}

void fill_integers(DType dtype, void* out, int64_t numel, int64_t low, uint64_t range,
                   RandomSource source, cudaStream_t stream) {
  const auto start = static_cast<uint64_t>(low);
  const auto filled = [&](auto element) {
    using T = decltype(element);
    if (random_numbers(range) == 2) {
      fill<T>(out, numel, Integers<T, uint64_t>{start, range}, source, stream);
    } else {
      fill<T>(out, numel, Integers<T, uint32_t>{start, range}, source, stream);
    }
  };
  if (is_floating_point(dtype)) return visit_floating(dtype, "random integers", filled);
  switch (itemsize(dtype)) {
    case 1:
      return filled(uint8_t{});
    case 2:
      return filled(uint16_t{});
    case 4:
      return filled(uint32_t{});
    default:
      return filled(uint64_t{});
  }
}

// With 2·log2(n) + 2.25 bits, all keys are different with a probability of 0.9.
int permutation_bits(int64_t n) {
  const auto count = static_cast<double>(n);
  const double needed = std::log2(count - (6 * count * count + 1) / (12 * std::log(0.9)));
  return std::min(64, static_cast<int>(std::ceil(needed)));
}

uint64_t permutation_range(int bits) { return bits <= 32 ? UINT32_MAX : UINT64_MAX; }

void shuffle_equal_keys(const uint64_t* keys, uint32_t* values, int64_t n, int bits,
                        RandomSource source, cudaStream_t stream) {
  const int64_t blocks = (n + kThreads - 1) / kThreads;
  launch(shuffle_kernel, dim3(static_cast<unsigned>(blocks)), kThreads, stream, keys, values, n,
         UINT64_MAX >> (64 - bits), source);
}

void fill_range(uint32_t* values, int64_t n, cudaStream_t stream) {
  launch(range_kernel, grid_for(n, kThreads), kThreads, stream, values, n);
}

}  // namespace aotiny::cuda
