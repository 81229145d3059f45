// Large copies from the host's memory to a device, through pinned memory.
#include "aotiny/core/upload.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "gpu_test.h"

namespace aotiny::cuda {
namespace {

class Upload : public GpuTest {};

// Not a multiple of anything, and no two chunks alike.
std::vector<uint8_t> pattern(size_t nbytes) {
  std::vector<uint8_t> bytes(nbytes);
  for (size_t i = 0; i < nbytes; ++i) bytes[i] = static_cast<uint8_t>(i * 2654435761u >> 13);
  return bytes;
}

TEST_F(Upload, EveryByteArrives) {
  constexpr size_t kChunk = size_t{4} << 20;
  for (int device = 0; device < device_count(); ++device) {
    for (const size_t nbytes : {size_t{1}, size_t{1001}, kChunk - 1, kChunk, kChunk + 1, 5 * kChunk,
                                7 * kChunk + 12345}) {
      const std::vector<uint8_t> source = pattern(nbytes + 3);
      const int64_t sizes[] = {static_cast<int64_t>(nbytes) + 2};
      const Tensor target = Tensor::empty(sizes, DType::UInt8, gpu(device));
      target.zero_();
      // Neither end is aligned.
      cuda_interface().upload(static_cast<uint8_t*>(target.raw_data()) + 1, gpu(device),
                              source.data() + 3, nbytes);
      const Tensor found = target.to(kCPU);
      const auto* bytes = found.data<uint8_t>();
      EXPECT_EQ(bytes[0], 0);
      EXPECT_EQ(bytes[nbytes + 1], 0);
      EXPECT_TRUE(std::equal(source.begin() + 3, source.end(), bytes + 1)) << nbytes;
    }
  }
  cuda_interface().upload(nullptr, gpu(), nullptr, 0);
  EXPECT_EQ(cuda_interface().pinned_allocator().stats(kCPU).allocated_bytes, 0u);
}

TEST_F(Upload, IsRefusedDuringACapture) {
  const int64_t sizes[] = {16};
  const Tensor target = Tensor::empty(sizes, DType::UInt8, gpu());
  const std::vector<uint8_t> source = pattern(16);
  const auto stream = cuda_interface().make_stream(gpu());
  const std::string sentence = failure(Status::InvalidState, [&] {
    (void)cuda_interface().record(gpu(), stream->get(), [&] {
      cuda_interface().upload(target.raw_data(), gpu(), source.data(), 16);
    });
  });
  EXPECT_TRUE(contains(sentence, "16 bytes")) << sentence;
}

}  // namespace
}  // namespace aotiny::cuda
