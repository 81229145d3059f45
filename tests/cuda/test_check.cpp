// Error codes as Errors. The codes are given by hand: no GPU is needed.
#include "aotiny/core/check.h"

#include <gtest/gtest.h>

#include <string>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

TEST(Check, SuccessIsSilent) { AOTINY_CUDA_CHECK(cudaSuccess); }

TEST(Check, NamesExpressionFileAndLine) {
  const cudaError_t code = cudaErrorInvalidValue;
  const int line = __LINE__ + 1;
  const auto text = failure(Status::InvalidArgument, [&] { AOTINY_CUDA_CHECK(code); });
  EXPECT_TRUE(contains(text, "code failed at ")) << text;
  EXPECT_TRUE(contains(text, "test_check.cpp:" + std::to_string(line))) << text;
  EXPECT_TRUE(contains(text, "cudaErrorInvalidValue")) << text;
}

TEST(Check, GivesTheStatusOfTheCode) {
  const auto status_is = [](Status status, cudaError_t code) {
    failure(status, [&] { AOTINY_CUDA_CHECK(code); });
  };
  status_is(Status::MemoryAllocationFailed, cudaErrorMemoryAllocation);
  status_is(Status::InvalidArgument, cudaErrorInvalidDevice);
  status_is(Status::NotSupported, cudaErrorNoKernelImageForDevice);
  status_is(Status::InvalidState, cudaErrorStreamCaptureUnsupported);
  status_is(Status::Internal, cudaErrorInvalidKernelImage);
}

TEST(Check, ClearsCudasOwnRecord) {
  EXPECT_NE(cudaSetDevice(1 << 20), cudaSuccess);
  EXPECT_NE(cudaPeekAtLastError(), cudaSuccess);
  failure(Status::InvalidArgument, [] { AOTINY_CUDA_CHECK(cudaErrorInvalidValue); });
  const cudaError_t left = cudaPeekAtLastError();
  // Without a driver every call fails, this one too.
  if (device_count() > 0) {
    EXPECT_EQ(left, cudaSuccess);
  }
}

// The last test: from here on the process is taken to be ruined.
TEST(Check, TellsARuinedContextOnceAndNamesItAfterwards) {
  const auto first = failure(Status::Internal, [] { AOTINY_CUDA_CHECK(cudaErrorIllegalAddress); });
  EXPECT_TRUE(contains(first, "may come from work that was put into a stream before")) << first;
  const cudaError_t again = cudaErrorIllegalAddress;
  const auto second = failure(Status::InvalidState, [&] { AOTINY_CUDA_CHECK(again); });
  EXPECT_TRUE(second.starts_with("again was not tried at ")) << second;
  EXPECT_TRUE(contains(second, "earlier cudaErrorIllegalAddress failed at ")) << second;
  // An ordinary error is still told as what it is.
  const auto third =
      failure(Status::InvalidArgument, [] { AOTINY_CUDA_CHECK(cudaErrorInvalidValue); });
  EXPECT_FALSE(contains(third, "earlier")) << third;
}

}  // namespace
}  // namespace aotiny::cuda
