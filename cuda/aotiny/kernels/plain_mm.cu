#include "aotiny/kernels/plain_mm.h"

namespace aotiny::cuda {

void plain_mm(const WeightProduct&, Device, cudaStream_t) {
  fail(Status::NotImplemented, "plain_mm on CUDA");
}

}  // namespace aotiny::cuda
