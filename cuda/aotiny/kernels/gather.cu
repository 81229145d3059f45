#include "aotiny/kernels/gather.h"

namespace aotiny::cuda {

void gather_rows(const WeightGather&, cudaStream_t) {
  fail(Status::NotImplemented, "gather on CUDA");
}

}  // namespace aotiny::cuda
