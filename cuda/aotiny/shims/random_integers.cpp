// aoti_torch_cuda_randint, randperm and their variants: random integers.
#include <algorithm>
#include <limits>
#include <utility>

#include "aotiny/kernels/radix_sort.h"
#include "aotiny/shims/random.h"

using namespace aotiny;
using cuda::Draw;
using cuda::random_like;
using cuda::random_of_size;
using cuda::RandomOptions;
using cuda::Work;

namespace {

// How far from 0 a dtype holds every integer.
template <class T>
constexpr int64_t exact_integers() {
  if constexpr (std::is_same_v<T, Float16>) return int64_t{1} << 11;
  if constexpr (std::is_same_v<T, BFloat16>) return int64_t{1} << 8;
  if constexpr (std::is_floating_point_v<T>) return int64_t{1} << std::numeric_limits<T>::digits;
  return 0;
}

// Fails unless the dtype holds every integer from `low` to `last`.
void require_holds(DType dtype, int64_t low, int64_t last, const char* what) {
  visit_dtype(dtype, what, [&](auto tag) {
    using T = typename decltype(tag)::type;
    bool holds;
    if constexpr (std::is_same_v<T, bool>) {
      holds = low >= 0 && last <= 1;
    } else if constexpr (std::is_integral_v<T>) {
      holds = std::in_range<T>(low) && std::in_range<T>(last);
    } else {
      holds = low >= -exact_integers<T>() && last <= exact_integers<T>();
    }
    require(holds, Status::InvalidArgument, what, ": ", dtype, " does not hold every integer from ",
            low, " to ", last);
  });
}

// Integers from `low` to below `high`.
struct Integers {
  int64_t low, high;
  const char* what;

  DType default_dtype() const { return DType::Int64; }

  void check(DType dtype) const {
    require(low < high, Status::InvalidArgument, what, ": there is no integer from ", low,
            " to below ", high);
    require_holds(dtype, low, high - 1, what);
  }

  void fill(const Tensor& out) const {
    const Work work(out.device());
    const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    const Draw draw(work, cuda::random_offsets(out.numel(), cuda::random_numbers(range)));
    cuda::fill_integers(out.dtype(), out.raw_data(), out.numel(), low, range, draw.source(),
                        work.stream());
  }
};

// A permutation of 0..n-1, as torch makes it: the numbers sorted by random keys.
Tensor permutation(int64_t n, DType dtype, Device device) {
  const int64_t sizes[] = {n};
  if (n == 0) return Tensor::empty(sizes, dtype, device);
  const Work work(device);
  const Tensor keys = Tensor::empty(sizes, DType::UInt64, device);
  const Tensor other_keys = Tensor::empty(sizes, DType::UInt64, device);
  const Tensor values = Tensor::empty(sizes, DType::UInt32, device);
  const Tensor other_values = Tensor::empty(sizes, DType::UInt32, device);
  const int bits = cuda::permutation_bits(n);
  const uint64_t range = cuda::permutation_range(bits);
  const Draw draw(work, cuda::random_offsets(n, cuda::random_numbers(range)));
  cuda::fill_integers(DType::UInt64, keys.raw_data(), n, 0, range, draw.source(), work.stream());
  cuda::fill_range(values.data<uint32_t>(), n, work.stream());

  cuda::SortPairs pairs{keys.data<uint64_t>(), other_keys.data<uint64_t>(), values.data<uint32_t>(),
                        other_values.data<uint32_t>()};
  const size_t scratch_bytes = cuda::radix_sort_scratch_bytes(n);
  const Tensor scratch = work.scratch(scratch_bytes);
  radix_sort(pairs, n, bits, scratch.raw_data(), scratch_bytes, work.stream());
  const Draw shuffle(work, static_cast<uint64_t>(n));
  shuffle_equal_keys(pairs.keys, pairs.values, n, bits, shuffle.source(), work.stream());
  const Tensor sorted = pairs.values == values.data<uint32_t>() ? values : other_values;
  return sorted.to(dtype);
}

}  // namespace

AOTITorchError aoti_torch_cuda_randint(int64_t high, const int64_t* size, int64_t size_len_,
                                       int32_t* dtype, int32_t* layout, int32_t* device,
                                       int32_t device_index_, int32_t* pin_memory,
                                       AtenTensorHandle* ret0) {
  return random_of_size(Integers{0, high, "randint"}, size, size_len_,
                        {nullptr, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_randint_generator(int64_t high, const int64_t* size,
                                                 int64_t size_len_, AtenGeneratorHandle* generator,
                                                 int32_t* dtype, int32_t* layout, int32_t* device,
                                                 int32_t device_index_, int32_t* pin_memory,
                                                 AtenTensorHandle* ret0) {
  return random_of_size(Integers{0, high, "randint"}, size, size_len_,
                        {generator, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_randint_low(int64_t low, int64_t high, const int64_t* size,
                                           int64_t size_len_, int32_t* dtype, int32_t* layout,
                                           int32_t* device, int32_t device_index_,
                                           int32_t* pin_memory, AtenTensorHandle* ret0) {
  return random_of_size(Integers{low, high, "randint"}, size, size_len_,
                        {nullptr, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_randint_low_out(AtenTensorHandle out, int64_t low, int64_t high,
                                               const int64_t* size, int64_t size_len_) {
  return guarded([&] {
    const Tensor& tensor = cuda::cuda_in(out, "out");
    const IntSpan sizes = int_span(size, size_len_, "size");
    require(std::ranges::equal(sizes, tensor.sizes()), Status::InvalidArgument, "out has shape ",
            Shape{tensor.sizes()}, ", not ", Shape{sizes});
    cuda::require_dense(tensor, "out");
    const Integers integers{low, high, "randint"};
    integers.check(tensor.dtype());
    integers.fill(tensor);
  });
}

AOTITorchError aoti_torch_cuda_randint_like(AtenTensorHandle self, int64_t high, int32_t* dtype,
                                            int32_t* layout, int32_t* device, int32_t device_index_,
                                            int32_t* pin_memory, int32_t* memory_format,
                                            AtenTensorHandle* ret0) {
  return random_like(Integers{0, high, "randint_like"}, self,
                     {nullptr, dtype, layout, device, device_index_, pin_memory}, memory_format,
                     ret0);
}

AOTITorchError aoti_torch_cuda_randint_like_low_dtype(AtenTensorHandle self, int64_t low,
                                                      int64_t high, int32_t* dtype, int32_t* layout,
                                                      int32_t* device, int32_t device_index_,
                                                      int32_t* pin_memory, int32_t* memory_format,
                                                      AtenTensorHandle* ret0) {
  return random_like(Integers{low, high, "randint_like"}, self,
                     {nullptr, dtype, layout, device, device_index_, pin_memory}, memory_format,
                     ret0);
}

AOTITorchError aoti_torch_cuda_randperm(int64_t n, int32_t* dtype, int32_t* layout, int32_t* device,
                                        int32_t device_index_, int32_t* pin_memory,
                                        AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    require(n >= 0 && n <= INT32_MAX, Status::InvalidArgument, "randperm: n ", n, " is outside 0..",
            INT32_MAX);
    const RandomOptions options{nullptr, dtype, layout, device, device_index_, pin_memory};
    const DType result_dtype = options.dtype_or(DType::Int64);
    require_holds(result_dtype, 0, std::max<int64_t>(n - 1, 0), "randperm");
    ret = permutation(n, result_dtype, options.device_or({}));
  });
}
