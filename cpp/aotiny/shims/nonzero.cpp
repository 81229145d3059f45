// nonzero: the indices of the elements that are not zero.
#include "aotiny/kernels/nonzero.h"
#include "aotiny/shims/handle.h"

using namespace aotiny;

AOTITorchError aoti_torch_cpu_nonzero(AtenTensorHandle self, AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const Tensor dense = cpu_in(self, "self").contiguous();
    const Nonzero nonzero(dense.dtype(), dense.raw_data(), dense.numel());
    const int64_t sizes[] = {nonzero.count(), dense.ndim()};
    const int64_t strides[] = {1, nonzero.count()};
    const Tensor indices = Tensor::empty_strided(sizes, strides, DType::Int64);
    nonzero.write_indices(dense.sizes().data(), dense.ndim(), indices.data<int64_t>());
    ret = indices;
  });
}
