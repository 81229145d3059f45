#include "aotiny/kernels/dequantized_mm.h"

namespace aotiny::cuda {

void dequantized_mm(const WeightProduct&, Device, cudaStream_t) {
  fail(Status::NotImplemented, "dequantized_mm on CUDA");
}

}  // namespace aotiny::cuda
