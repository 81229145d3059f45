// aoti_torch_cuda_nonzero: the indices of the elements that are not zero.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/kernels/find_nonzero.h"
#include "aotiny/kernels/scan_rows.h"
#include "aotiny/shims/cuda_handle.h"

using namespace aotiny;

// How many there are decides the result's shape, so this waits for the stream.
AOTITorchError aoti_torch_cuda_nonzero(AtenTensorHandle self, AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle ret(ret0, "ret0");
    const Tensor& tensor = cuda::cuda_in(self, "self");
    cuda::check_nonzero(tensor.dtype());
    const cuda::Work work(tensor.device());
    require(cuda::capture_id(work.stream()) == cuda::kNoCapture, Status::InvalidState,
            "nonzero waits for the stream to know how large its result is, which is not possible "
            "while a stream is being captured");
    const Tensor dense = tensor.contiguous();
    const int64_t blocks[] = {cuda::nonzero_blocks(dense.numel())};
    const Tensor ends = Tensor::empty(blocks, DType::Int64, tensor.device());
    int64_t found = 0;
    if (blocks[0] > 0) {
      cuda::count_nonzero(dense.dtype(), dense.raw_data(), dense.numel(), ends.data<int64_t>(),
                          work.stream());
      const cuda::ScanProblem scan{DType::Int64, cuda::ScanOp::Sum, 1, blocks[0]};
      const Tensor scratch = work.scratch(scan_scratch_bytes(scan));
      scan_rows(scan, ends.raw_data(), ends.raw_data(), scratch.raw_data(), work.stream());
      found = *ends.select(0, -1).to(kCPU).data<int64_t>();
    }
    const int64_t sizes[] = {found, dense.ndim()};
    const int64_t strides[] = {1, found};
    const Tensor indices = Tensor::empty_strided(sizes, strides, DType::Int64, tensor.device());
    cuda::write_nonzero(dense.dtype(), dense.raw_data(), dense.numel(), dense.sizes().data(),
                        dense.ndim(), ends.data<int64_t>(), found, indices.data<int64_t>(),
                        work.stream());
    ret = indices;
  });
}
