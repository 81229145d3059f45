// aoti_torch_cuda_mm_out, addmm_out, bmm_out, baddbmm_out: dense products by cuBLAS into a tensor
// that keeps its strides.
#include "aotiny/shims/dense.h"

#include <vector>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/kernels/dense_product.h"

using namespace aotiny;
using namespace aotiny::cuda;

namespace {

Matrices matrices_of(const Tensor& tensor) {
  return {.data = tensor.raw_data(),
          .batch_stride = tensor.ndim() == 3 ? tensor.stride(0) : 0,
          .row_stride = tensor.stride(-2),
          .column_stride = tensor.stride(-1)};
}

bool has_cublas_layout(const Tensor& tensor) {
  return cuda::has_cublas_layout(tensor.size(-2), tensor.size(-1), matrices_of(tensor));
}

// What cuBLAS can read: the tensor itself, or a copy. Every contiguous tensor is readable.
Tensor readable(const Tensor& tensor) {
  return has_cublas_layout(tensor) ? tensor : tensor.contiguous();
}

Tensor zeros_like_with(const Tensor& tensor, int64_t rows, int64_t columns) {
  std::vector<int64_t> sizes(tensor.sizes().begin(), tensor.sizes().end());
  sizes[sizes.size() - 2] = rows;
  sizes[sizes.size() - 1] = columns;
  const Tensor zeros = Tensor::empty(sizes, tensor.dtype(), tensor.device());
  zeros.zero_();
  return zeros;
}

// c = beta·c + alpha·(a x b).
void multiply(const Tensor& c, const Tensor& a, const Tensor& b, double alpha, double beta) {
  const ProductShape shape{.dtype = a.dtype(),
                           .c_dtype = c.dtype(),
                           .batch = c.ndim() == 3 ? c.size(0) : 1,
                           .m = c.size(-2),
                           .n = c.size(-1),
                           .k = a.size(-1)};
  cublas_product(dense_product(shape, matrices_of(a), matrices_of(b), matrices_of(c), alpha, beta),
                 c.device().index);
}

void run(const DenseProduct& product) {
  const Tensor& out = product.out;
  if (out.numel() == 0) return;
  const Tensor& added = product.added;
  // cuBLAS may round a 16-bit product before it adds to it. Sums in fp32 are rounded once, by the
  // copy into out.
  const bool is_rounded_by_copy = added.defined() && out.itemsize() == 2;
  const bool in_place = !product.is_aliased && !is_rounded_by_copy && has_cublas_layout(out);
  const DType dtype = is_rounded_by_copy ? DType::Float32 : out.dtype();
  const Tensor c = in_place ? out : Tensor::empty(out.sizes(), dtype, out.device());
  if (added.defined() && !same_elements(c, added)) c.copy_(added);
  if (product.a.size(-1) > 0) {
    multiply(c, readable(product.a), readable(product.b), product.alpha, product.beta);
  } else if (added.defined()) {
    // Sums of nothing are zero, and so is their product with any alpha.
    multiply(c, zeros_like_with(out, out.size(-2), 1), zeros_like_with(out, 1, out.size(-1)), 0.0,
             product.beta);
  } else {
    c.zero_();
  }
  if (!in_place) out.copy_(c);
}

}  // namespace

AOTITorchError aoti_torch_cuda_mm_out(AtenTensorHandle out, AtenTensorHandle self,
                                      AtenTensorHandle mat2) {
  return guarded([&] { run(mm_arguments(DeviceType::CUDA, out, self, mat2)); });
}

AOTITorchError aoti_torch_cuda_addmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                         AtenTensorHandle mat1, AtenTensorHandle mat2, double beta,
                                         double alpha) {
  return guarded(
      [&] { run(addmm_arguments(DeviceType::CUDA, out, self, mat1, mat2, beta, alpha)); });
}

AOTITorchError aoti_torch_cuda_bmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                       AtenTensorHandle mat2) {
  return guarded([&] { run(bmm_arguments(DeviceType::CUDA, out, self, mat2)); });
}

AOTITorchError aoti_torch_cuda_baddbmm_out(AtenTensorHandle out, AtenTensorHandle self,
                                           AtenTensorHandle batch1, AtenTensorHandle batch2,
                                           double beta, double alpha) {
  return guarded(
      [&] { run(baddbmm_arguments(DeviceType::CUDA, out, self, batch1, batch2, beta, alpha)); });
}
