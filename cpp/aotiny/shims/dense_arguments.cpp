#include <algorithm>
#include <utility>

#include "aotiny/core/overlap.h"
#include "aotiny/shims/dense.h"

namespace aotiny {
namespace {

void require_out(const Tensor& out, int64_t ndim, DeviceType type) {
  require(out.defined(), Status::InvalidArgument, "out is undefined");
  check_device_type(type, out, "out");
  require(out.ndim() == ndim, Status::InvalidArgument, "out has ", out.ndim(), " dimensions, not ",
          ndim, ": ", out);
  const DType dtype = out.dtype();
  const bool served = dtype == DType::Float32 || dtype == DType::Float64 ||
                      dtype == DType::Float16 || dtype == DType::BFloat16;
  require(served, Status::InvalidType, "a dense product of ", dtype,
          " tensors: only float32, float64, float16 and bfloat16 are supported");
}

void require_like(const Tensor& out, const Tensor& tensor, const char* name) {
  require(tensor.defined(), Status::InvalidArgument, name, " is undefined");
  require(tensor.device() == out.device(), Status::InvalidArgument, name, " is on ",
          tensor.device(), ", and out is on ", out.device());
  require(tensor.dtype() == out.dtype(), Status::InvalidType, name, " has dtype ", tensor.dtype(),
          " and out has ", out.dtype());
}

void require_matrices(const Tensor& out, const Tensor& tensor, const char* name) {
  require_like(out, tensor, name);
  require(tensor.ndim() == out.ndim(), Status::InvalidArgument, name, " has ", tensor.ndim(),
          " dimensions, not ", out.ndim(), ": ", tensor);
}

void require_product(const Tensor& out, const Tensor& a, const Tensor& b) {
  require(a.size(-1) == b.size(-2), Status::InvalidArgument, "cannot multiply ", Shape{a.sizes()},
          " by ", Shape{b.sizes()}, ": ", a.size(-1), " columns, ", b.size(-2), " rows");
  require(out.size(-2) == a.size(-2) && out.size(-1) == b.size(-1), Status::InvalidArgument,
          "out has shape ", Shape{out.sizes()}, ", the product of ", Shape{a.sizes()}, " and ",
          Shape{b.sizes()}, " needs another");
  // An out whose elements share memory (stride 0, or windows) has no defined result.
  require(has_distinct_elements(out), Status::InvalidArgument,
          "the elements of out overlap: ", out);
}

struct Argument {
  AtenTensorHandle handle;
  const char* name;
};

// out and the factors; what is added comes later.
DenseProduct product_of(DeviceType type, int64_t ndim, AtenTensorHandle result, Argument first,
                        Argument second) {
  const Tensor& out = in(result, "out");
  const Tensor& a = in(first.handle, first.name);
  const Tensor& b = in(second.handle, second.name);
  require_out(out, ndim, type);
  require_matrices(out, a, first.name);
  require_matrices(out, b, second.name);
  if (ndim == 3) {
    require(a.size(0) == b.size(0) && a.size(0) == out.size(0), Status::InvalidArgument,
            "batches differ: ", first.name, ' ', a.size(0), ", ", second.name, ' ', b.size(0),
            ", out ", out.size(0));
  }
  require_product(out, a, b);
  return {.out = out,
          .a = a,
          .b = b,
          .added = {},
          .is_aliased = may_overlap(out, a) || may_overlap(out, b)};
}

DenseProduct with_added(DenseProduct product, AtenTensorHandle self, double beta, double alpha) {
  const Tensor& out = product.out;
  const Tensor& addend = in(self, "self");
  require_like(out, addend, "self");
  require(addend.ndim() <= out.ndim(), Status::InvalidArgument, "self has ", addend.ndim(),
          " dimensions, more than ", out.ndim(), ": ", addend);
  Tensor added = addend.expand(out.sizes());
  product.alpha = alpha;
  if (beta == 0.0) return product;
  product.beta = beta;
  product.is_aliased |= may_overlap(out, added) && !same_elements(out, added);
  product.added = std::move(added);
  return product;
}

}  // namespace

DenseProduct mm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                          AtenTensorHandle mat2) {
  return product_of(type, 2, out, {self, "self"}, {mat2, "mat2"});
}

DenseProduct addmm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                             AtenTensorHandle mat1, AtenTensorHandle mat2, double beta,
                             double alpha) {
  return with_added(product_of(type, 2, out, {mat1, "mat1"}, {mat2, "mat2"}), self, beta, alpha);
}

DenseProduct bmm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                           AtenTensorHandle mat2) {
  return product_of(type, 3, out, {self, "self"}, {mat2, "mat2"});
}

DenseProduct baddbmm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                               AtenTensorHandle batch1, AtenTensorHandle batch2, double beta,
                               double alpha) {
  return with_added(product_of(type, 3, out, {batch1, "batch1"}, {batch2, "batch2"}), self, beta,
                    alpha);
}

bool same_elements(const Tensor& a, const Tensor& b) {
  return a.raw_data() == b.raw_data() && std::ranges::equal(a.strides(), b.strides());
}

}  // namespace aotiny
