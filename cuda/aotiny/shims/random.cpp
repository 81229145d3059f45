// aoti_torch_cuda_rand, randn, uniform, normal_functional and their variants: random floats.
#include <cmath>

#include "aotiny/shims/random.h"

using namespace aotiny;
using cuda::Draw;
using cuda::random_like;
using cuda::random_of_size;
using cuda::Work;

namespace {

// Uniform in [first, second), or normal with mean `first` and standard deviation `second`.
struct Floats {
  enum class Kind { Uniform, Normal } kind;
  double first, second;
  const char* what;

  DType default_dtype() const { return DType::Float32; }

  void check(DType dtype) const {
    const bool served = dtype == DType::Float16 || dtype == DType::BFloat16 ||
                        dtype == DType::Float32 || dtype == DType::Float64;
    require(served, Status::InvalidType, what, ": dtype ", dtype,
            " is not supported: only float16, bfloat16, float32 and float64");
    visit_dtype(dtype, what, [&](auto tag) {
      const auto fits = [](double value) {
        return std::isfinite(convert<double>(convert<typename decltype(tag)::type>(value)));
      };
      const bool is_uniform = kind == Kind::Uniform;
      require(
          !is_uniform || (first <= second && fits(first) && fits(second) && fits(second - first)),
          Status::InvalidArgument, what, ": from ", first, " to ", second,
          " is no range of finite ", dtype, " numbers");
      require(is_uniform || second >= 0, Status::InvalidArgument, what, ": the standard deviation ",
              second, " is not 0 or more");
    });
  }

  void fill(const Tensor& out) const {
    const Work work(out.device());
    const Draw draw(work, cuda::random_offsets(out.numel(), cuda::random_numbers(out.dtype())));
    const auto filled = kind == Kind::Uniform ? cuda::fill_uniform : cuda::fill_normal;
    filled(out.dtype(), out.raw_data(), out.numel(), first, second, draw.source(), work.stream());
  }
};

constexpr Floats kRand{Floats::Kind::Uniform, 0, 1, "rand"};
constexpr Floats kRandn{Floats::Kind::Normal, 0, 1, "randn"};

}  // namespace

AOTITorchError aoti_torch_cuda_rand(const int64_t* size, int64_t size_len_, int32_t* dtype,
                                    int32_t* layout, int32_t* device, int32_t device_index_,
                                    int32_t* pin_memory, AtenTensorHandle* ret0) {
  return random_of_size(kRand, size, size_len_,
                        {nullptr, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_rand_generator(const int64_t* size, int64_t size_len_,
                                              AtenGeneratorHandle* generator, int32_t* dtype,
                                              int32_t* layout, int32_t* device,
                                              int32_t device_index_, int32_t* pin_memory,
                                              AtenTensorHandle* ret0) {
  return random_of_size(kRand, size, size_len_,
                        {generator, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_rand_like(AtenTensorHandle self, int32_t* dtype, int32_t* layout,
                                         int32_t* device, int32_t device_index_,
                                         int32_t* pin_memory, int32_t* memory_format,
                                         AtenTensorHandle* ret0) {
  return random_like(kRand, self, {nullptr, dtype, layout, device, device_index_, pin_memory},
                     memory_format, ret0);
}

AOTITorchError aoti_torch_cuda_randn(const int64_t* size, int64_t size_len_, int32_t* dtype,
                                     int32_t* layout, int32_t* device, int32_t device_index_,
                                     int32_t* pin_memory, AtenTensorHandle* ret0) {
  return random_of_size(kRandn, size, size_len_,
                        {nullptr, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_randn_generator(const int64_t* size, int64_t size_len_,
                                               AtenGeneratorHandle* generator, int32_t* dtype,
                                               int32_t* layout, int32_t* device,
                                               int32_t device_index_, int32_t* pin_memory,
                                               AtenTensorHandle* ret0) {
  return random_of_size(kRandn, size, size_len_,
                        {generator, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_randn_like(AtenTensorHandle self, int32_t* dtype, int32_t* layout,
                                          int32_t* device, int32_t device_index_,
                                          int32_t* pin_memory, int32_t* memory_format,
                                          AtenTensorHandle* ret0) {
  return random_like(kRandn, self, {nullptr, dtype, layout, device, device_index_, pin_memory},
                     memory_format, ret0);
}

AOTITorchError aoti_torch_cuda_uniform(AtenTensorHandle self, double from, double to,
                                       AtenGeneratorHandle* generator, AtenTensorHandle* ret0) {
  return random_like(Floats{Floats::Kind::Uniform, from, to, "uniform"}, self,
                     {generator, nullptr, nullptr, nullptr, 0, nullptr}, nullptr, ret0);
}

AOTITorchError aoti_torch_cuda_normal_functional(AtenTensorHandle self, double mean, double std,
                                                 AtenGeneratorHandle* generator,
                                                 AtenTensorHandle* ret0) {
  return random_like(Floats{Floats::Kind::Normal, mean, std, "normal"}, self,
                     {generator, nullptr, nullptr, nullptr, 0, nullptr}, nullptr, ret0);
}
