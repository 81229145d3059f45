// aoti_torch_cuda_rand, randn, uniform, normal_functional and their variants: random floats.
#include <cmath>

#include "aotiny/shims/random.h"

using namespace aotiny;
using cuda::Draw;
using cuda::RandomOptions;
using cuda::Work;

namespace {

void require_floating(DType dtype, const char* what) {
  const bool served = dtype == DType::Float16 || dtype == DType::BFloat16 ||
                      dtype == DType::Float32 || dtype == DType::Float64;
  require(served, Status::InvalidType, what, ": dtype ", dtype,
          " is not supported: only float16, bfloat16, float32 and float64");
}

enum class Distribution { Uniform, Normal };

struct Distributed {
  Distribution kind;
  double first, second;  // from and to, or mean and standard deviation
  const char* what;
};

constexpr Distributed kRand{Distribution::Uniform, 0, 1, "rand"};
constexpr Distributed kRandn{Distribution::Normal, 0, 1, "randn"};

// Fails unless the parameters make sense, as numbers of the dtype.
void require_parameters(const Distributed& wanted, DType dtype) {
  visit_dtype(dtype, wanted.what, [&](auto tag) {
    const auto fits = [](double value) {
      return std::isfinite(convert<double>(convert<typename decltype(tag)::type>(value)));
    };
    const bool is_uniform = wanted.kind == Distribution::Uniform;
    require(!is_uniform || (wanted.first <= wanted.second && fits(wanted.first) &&
                            fits(wanted.second) && fits(wanted.second - wanted.first)),
            Status::InvalidArgument, wanted.what, ": from ", wanted.first, " to ", wanted.second,
            " is no range of finite ", dtype, " numbers");
    require(is_uniform || wanted.second >= 0, Status::InvalidArgument, wanted.what,
            ": the standard deviation ", wanted.second, " is not 0 or more");
  });
}

// Fills a dense tensor in the order of its memory.
void fill(const Tensor& out, const Distributed& wanted) {
  const Work work(out.device());
  const Draw draw(work, cuda::random_offsets(out.numel(), cuda::random_numbers(out.dtype())));
  const auto filled = wanted.kind == Distribution::Uniform ? cuda::fill_uniform : cuda::fill_normal;
  filled(out.dtype(), out.raw_data(), out.numel(), wanted.first, wanted.second, draw.source(),
         work.stream());
}

AOTITorchError made(const Distributed& wanted, const int64_t* size, int64_t size_len,
                    const RandomOptions& options, AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const IntSpan sizes = int_span(size, size_len, "size");
    const DType dtype = options.dtype_or(DType::Float32);
    require_floating(dtype, wanted.what);
    const Tensor out = Tensor::empty(sizes, dtype, options.device_or({}));
    fill(out, wanted);
    ret = out;
  });
}

AOTITorchError made_like(const Distributed& wanted, AtenTensorHandle self,
                         const RandomOptions& options, const int32_t* memory_format,
                         AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const Tensor& tensor = cuda::cuda_in(self, "self");
    const DType dtype = options.dtype_or(tensor.dtype());
    require_floating(dtype, wanted.what);
    require_parameters(wanted, dtype);
    const Tensor out =
        cuda::empty_like(tensor, dtype, options.device_or(tensor.device()), memory_format);
    fill(out, wanted);
    ret = out;
  });
}

}  // namespace

AOTITorchError aoti_torch_cuda_rand(const int64_t* size, int64_t size_len_, int32_t* dtype,
                                    int32_t* layout, int32_t* device, int32_t device_index_,
                                    int32_t* pin_memory, AtenTensorHandle* ret0) {
  return made(kRand, size, size_len_, {nullptr, dtype, layout, device, device_index_, pin_memory},
              ret0);
}

AOTITorchError aoti_torch_cuda_rand_generator(const int64_t* size, int64_t size_len_,
                                              AtenGeneratorHandle* generator, int32_t* dtype,
                                              int32_t* layout, int32_t* device,
                                              int32_t device_index_, int32_t* pin_memory,
                                              AtenTensorHandle* ret0) {
  return made(kRand, size, size_len_, {generator, dtype, layout, device, device_index_, pin_memory},
              ret0);
}

AOTITorchError aoti_torch_cuda_rand_like(AtenTensorHandle self, int32_t* dtype, int32_t* layout,
                                         int32_t* device, int32_t device_index_,
                                         int32_t* pin_memory, int32_t* memory_format,
                                         AtenTensorHandle* ret0) {
  return made_like(kRand, self, {nullptr, dtype, layout, device, device_index_, pin_memory},
                   memory_format, ret0);
}

AOTITorchError aoti_torch_cuda_randn(const int64_t* size, int64_t size_len_, int32_t* dtype,
                                     int32_t* layout, int32_t* device, int32_t device_index_,
                                     int32_t* pin_memory, AtenTensorHandle* ret0) {
  return made(kRandn, size, size_len_, {nullptr, dtype, layout, device, device_index_, pin_memory},
              ret0);
}

AOTITorchError aoti_torch_cuda_randn_generator(const int64_t* size, int64_t size_len_,
                                               AtenGeneratorHandle* generator, int32_t* dtype,
                                               int32_t* layout, int32_t* device,
                                               int32_t device_index_, int32_t* pin_memory,
                                               AtenTensorHandle* ret0) {
  return made(kRandn, size, size_len_,
              {generator, dtype, layout, device, device_index_, pin_memory}, ret0);
}

AOTITorchError aoti_torch_cuda_randn_like(AtenTensorHandle self, int32_t* dtype, int32_t* layout,
                                          int32_t* device, int32_t device_index_,
                                          int32_t* pin_memory, int32_t* memory_format,
                                          AtenTensorHandle* ret0) {
  return made_like(kRandn, self, {nullptr, dtype, layout, device, device_index_, pin_memory},
                   memory_format, ret0);
}

AOTITorchError aoti_torch_cuda_uniform(AtenTensorHandle self, double from, double to,
                                       AtenGeneratorHandle* generator, AtenTensorHandle* ret0) {
  return made_like({Distribution::Uniform, from, to, "uniform"}, self,
                   {generator, nullptr, nullptr, nullptr, 0, nullptr}, nullptr, ret0);
}

AOTITorchError aoti_torch_cuda_normal_functional(AtenTensorHandle self, double mean, double std,
                                                 AtenGeneratorHandle* generator,
                                                 AtenTensorHandle* ret0) {
  return made_like({Distribution::Normal, mean, std, "normal"}, self,
                   {generator, nullptr, nullptr, nullptr, 0, nullptr}, nullptr, ret0);
}
