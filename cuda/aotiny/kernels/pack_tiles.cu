#include "aotiny/kernels/pack_tiles.h"

namespace aotiny::cuda {

void pack_tiles(const int32_t*, int64_t, int64_t, int, int32_t*, cudaStream_t) {
  fail(Status::NotImplemented, "pack_tiles on CUDA");
}

}  // namespace aotiny::cuda
