// aoti_torch_cpu_mm_out, addmm_out, bmm_out: dense products into a tensor that keeps its strides.
#include <algorithm>
#include <functional>
#include <string>

#include "aotiny/core/parallel.h"
#include "aotiny/kernels/gemm.h"
#include "aotiny/shims/handle.h"

using namespace aotiny;

namespace {

void require_operand(const Tensor& tensor, const char* name, int64_t ndim, DType dtype) {
  require(tensor.defined(), Status::InvalidArgument, name, " is undefined");
  require(tensor.device().type == DeviceType::CPU, Status::InvalidArgument, name, " is on ",
          tensor.device(), ", not on the CPU");
  require(tensor.ndim() == ndim, Status::InvalidArgument, name, " has ", tensor.ndim(),
          " dimensions, not ", ndim, ": ", tensor);
  require(tensor.dtype() == dtype, Status::InvalidType, name, " has dtype ", tensor.dtype(),
          " and out has ", dtype);
}

void require_floating(DType dtype) {
  const bool served = dtype == DType::Float32 || dtype == DType::Float64 ||
                      dtype == DType::Float16 || dtype == DType::BFloat16;
  require(served, Status::InvalidType, "a dense product of ", dtype,
          " tensors: only float32, float64, float16 and bfloat16 are supported");
}

// [begin, end) of the bytes that a tensor's elements lie in.
struct Extent {
  uintptr_t begin = 0;
  uintptr_t end = 0;
};

Extent extent(const Tensor& tensor) {
  const auto begin = reinterpret_cast<uintptr_t>(tensor.raw_data());
  const int64_t span = checked_span(tensor.sizes(), tensor.strides());
  return {begin, begin + checked_nbytes(span, tensor.itemsize())};
}

bool may_overlap(const Tensor& a, const Tensor& b) {
  const Extent x = extent(a), y = extent(b);
  return x.begin < y.end && y.begin < x.end;
}

bool same_elements(const Tensor& a, const Tensor& b) {
  return a.raw_data() == b.raw_data() && std::ranges::equal(a.strides(), b.strides());
}

// An out whose elements share memory (stride 0, or windows) has no defined result.
void require_writable(const Tensor& out) {
  std::vector<std::pair<int64_t, int64_t>> dims;  // stride, size
  for (int64_t d = 0; d < out.ndim(); ++d) {
    if (out.size(d) == 0) return;
    if (out.size(d) > 1) dims.emplace_back(out.stride(d), out.size(d));
  }
  std::sort(dims.begin(), dims.end());
  int64_t reach = 0;  // of the dimensions with smaller strides
  for (const auto& [stride, size] : dims) {
    require(stride > reach, Status::InvalidArgument, "the elements of out overlap: ", out);
    reach += stride * (size - 1);
  }
}

Strides2 matrix_strides(const Tensor& tensor) {
  const int64_t ndim = tensor.ndim();
  return {tensor.stride(ndim - 2), tensor.stride(ndim - 1)};
}

GemmProblem problem_of(const Tensor& c, const Tensor& a, const Tensor& b) {
  GemmProblem problem;
  problem.dtype = c.dtype();
  problem.m = a.size(-2);
  problem.n = b.size(-1);
  problem.k = a.size(-1);
  problem.a = matrix_strides(a);
  problem.b = matrix_strides(b);
  problem.c = matrix_strides(c);
  problem.threads = max_threads();
  return problem;
}

// Runs `product` into out, or into a temporary that is copied to out where writing out would
// destroy what is still to be read.
void into(const Tensor& out, bool aliased, const std::function<void(const Tensor&)>& product) {
  if (!aliased) return product(out);
  const Tensor temporary = Tensor::empty(out.sizes(), out.dtype());
  product(temporary);
  out.copy_(temporary);
}

void require_product(const Tensor& result, const Tensor& mat1, const Tensor& mat2) {
  require(mat1.size(-1) == mat2.size(-2), Status::InvalidArgument, "cannot multiply ",
          Shape{mat1.sizes()}, " by ", Shape{mat2.sizes()}, ": ", mat1.size(-1), " columns, ",
          mat2.size(-2), " rows");
  require(result.size(-2) == mat1.size(-2) && result.size(-1) == mat2.size(-1),
          Status::InvalidArgument, "out has shape ", Shape{result.sizes()}, ", the product of ",
          Shape{mat1.sizes()}, " and ", Shape{mat2.sizes()}, " needs another");
}

}  // namespace

AOTITorchError aoti_torch_cpu_mm_out(AtenTensorHandle out, AtenTensorHandle self,
                                     AtenTensorHandle mat2) {
  return guarded([&] {
    const Tensor& result = in(out, "out");
    const Tensor& a = in(self, "self");
    const Tensor& b = in(mat2, "mat2");
    require_operand(result, "out", 2, result.dtype());
    require_operand(a, "self", 2, result.dtype());
    require_operand(b, "mat2", 2, result.dtype());
    require_floating(result.dtype());
    require_product(result, a, b);
    require_writable(result);
    into(result, may_overlap(result, a) || may_overlap(result, b), [&](const Tensor& c) {
      gemm(problem_of(c, a, b), {.a = a.raw_data(), .b = b.raw_data(), .c = c.raw_data()});
    });
  });
}

AOTITorchError aoti_torch_cpu_addmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                        AtenTensorHandle mat1, AtenTensorHandle mat2, double beta,
                                        double alpha) {
  return guarded([&] {
    const Tensor& result = in(out, "out");
    const Tensor& addend = in(self, "self");
    const Tensor& a = in(mat1, "mat1");
    const Tensor& b = in(mat2, "mat2");
    require_operand(result, "out", 2, result.dtype());
    require_operand(addend, "self", addend.ndim(), result.dtype());
    require(addend.ndim() <= 2, Status::InvalidArgument, "self has ", addend.ndim(),
            " dimensions, more than 2: ", addend);
    require_operand(a, "mat1", 2, result.dtype());
    require_operand(b, "mat2", 2, result.dtype());
    require_floating(result.dtype());
    require_product(result, a, b);
    require_writable(result);
    const Tensor added = addend.expand(result.sizes());
    const bool read_later =
        beta != 0.0 && may_overlap(result, added) && !same_elements(result, added);
    into(result, read_later || may_overlap(result, a) || may_overlap(result, b),
         [&](const Tensor& c) {
           gemm(problem_of(c, a, b), {.a = a.raw_data(),
                                      .b = b.raw_data(),
                                      .c = c.raw_data(),
                                      .d = added.raw_data(),
                                      .d_strides = matrix_strides(added),
                                      .alpha = alpha,
                                      .beta = beta});
         });
  });
}

AOTITorchError aoti_torch_cpu_bmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                      AtenTensorHandle mat2) {
  return guarded([&] {
    const Tensor& result = in(out, "out");
    const Tensor& a = in(self, "self");
    const Tensor& b = in(mat2, "mat2");
    require_operand(result, "out", 3, result.dtype());
    require_operand(a, "self", 3, result.dtype());
    require_operand(b, "mat2", 3, result.dtype());
    require_floating(result.dtype());
    require(a.size(0) == b.size(0) && a.size(0) == result.size(0), Status::InvalidArgument,
            "batches differ: self ", a.size(0), ", mat2 ", b.size(0), ", out ", result.size(0));
    require_product(result, a, b);
    require_writable(result);
    into(result, may_overlap(result, a) || may_overlap(result, b), [&](const Tensor& c) {
      const GemmProblem problem = problem_of(c, a, b);
      const auto run = [&](int64_t begin, int64_t end, const GemmProblem& each) {
        const auto at = [&](const Tensor& tensor, int64_t i) {
          return static_cast<char*>(tensor.raw_data()) +
                 i * tensor.stride(0) * static_cast<int64_t>(tensor.itemsize());
        };
        for (int64_t i = begin; i < end; ++i) {
          gemm(each, {.a = at(a, i), .b = at(b, i), .c = at(c, i)});
        }
      };
      // Enough matrices for every thread: each thread takes whole ones.
      const int64_t batch = a.size(0);
      if (batch < problem.threads) return run(0, batch, problem);
      GemmProblem serial = problem;
      serial.threads = 1;
      constexpr int64_t kWorkPerThread = 1 << 19;  // multiply-adds
      const int64_t work = problem.m * problem.n * std::max<int64_t>(problem.k, 1);
      parallel_for(batch, kWorkPerThread / std::max<int64_t>(work, 1) + 1,
                   [&](int64_t begin, int64_t end) { run(begin, end, serial); });
    });
  });
}
