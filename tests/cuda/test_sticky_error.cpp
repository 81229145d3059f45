// A kernel that reads where nothing is ruins the process: one test, in a process of its own.
#include "aotiny/kernels/copy.h"
#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

class StickyError : public GpuTest {
  void TearDown() override {}  // nothing can be given back any more
};

TEST_F(StickyError, IsToldOnceWithItsPlace) {
  const Tensor target = Tensor::empty(Ints{4, 5}, DType::Float32, gpu());
  const StridedCopy copy{target.raw_data(),
                         reinterpret_cast<void*>(64),
                         DType::Float32,
                         DType::Float32,
                         {{4, 5, 1}, {5, 1, 7}}};
  copy_strided(copy, nullptr);  // returns before it runs
  const auto first = failure(Status::Internal, [&] { target.to(kCPU); });
  EXPECT_TRUE(contains(first, "cudaErrorIllegalAddress")) << first;
  EXPECT_TRUE(contains(first, "cuda/aotiny/core/cuda_interface.cpp:")) << first;
  const auto second = failure(Status::InvalidState, [&] { target.zero_(); });
  EXPECT_TRUE(contains(second, "can no longer use CUDA, because earlier")) << second;
}

}  // namespace
}  // namespace aotiny::cuda
