// The arguments of mm_out, addmm_out, bmm_out and baddbmm_out, checked as on every device.
#pragma once

#include "aotiny/shims/handle.h"

namespace aotiny {

// out = beta·added + alpha·(a x b): matrices, or batches of them in the first of three dimensions.
// All have one dtype (fp32, fp64, fp16 or bf16) and one device; out's elements do not overlap.
struct DenseProduct {
  const Tensor& out;
  const Tensor& a;
  const Tensor& b;
  Tensor added;  // of out's shape; undefined where nothing is added: beta is 0 then
  double alpha = 1.0;
  double beta = 0.0;
  // Writing out would destroy what is still to be read. `added` may be out itself without that.
  bool is_aliased = false;
};

// Each fails with a sentence that names the argument, unless everything is there, fits and is on a
// device of this type.
DenseProduct mm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                          AtenTensorHandle mat2);
DenseProduct addmm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                             AtenTensorHandle mat1, AtenTensorHandle mat2, double beta,
                             double alpha);
DenseProduct bmm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                           AtenTensorHandle mat2);
DenseProduct baddbmm_arguments(DeviceType type, AtenTensorHandle out, AtenTensorHandle self,
                               AtenTensorHandle batch1, AtenTensorHandle batch2, double beta,
                               double alpha);

// Whether both are views of the same elements in the same order, given the same shape.
bool same_elements(const Tensor& a, const Tensor& b);

}  // namespace aotiny
