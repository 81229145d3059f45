// The quantizer of activations against the CPU's, bit for bit.
#include "aotiny/kernels/cuda_quantize_activations.h"

#include <array>
#include <cstring>

#include "aotiny/kernels/quantize_activations.h"
#include "cuda_products.h"

namespace aotiny::cuda {
namespace {

constexpr int64_t kGuard = 64;  // bytes of poison around what is written
constexpr uint8_t kPoison = 0xA5;

struct Quantized {
  std::vector<int8_t> q;
  std::vector<BlockScale> blocks;
};

// Device memory with poison in it and around it.
class Poisoned {
 public:
  explicit Poisoned(int64_t nbytes)
      : nbytes_(nbytes),
        memory_(Tensor::empty(std::vector<int64_t>{nbytes + 2 * kGuard}, DType::UInt8, gpu())) {
    AOTINY_CUDA_CHECK(cudaMemset(memory_.raw_data(), kPoison, nbytes_ + 2 * kGuard));
  }
  uint8_t* data() const { return memory_.data<uint8_t>() + kGuard; }
  std::vector<uint8_t> take() const {
    std::vector<uint8_t> all = bytes_of(memory_);
    for (int64_t i = 0; i < kGuard; ++i) {
      EXPECT_EQ(all[i], kPoison) << "written " << kGuard - i << " bytes before the beginning";
      EXPECT_EQ(all[kGuard + nbytes_ + i], kPoison) << "written " << i << " bytes past the end";
    }
    return {all.begin() + kGuard, all.end() - kGuard};
  }

 private:
  int64_t nbytes_;
  Tensor memory_;
};

// x [batch, m, k] on the device.
Quantized on_device(const Tensor& x, KOrder order) {
  const int64_t batch = x.size(0), m = x.size(1), k = x.size(2);
  const int64_t num_blocks = batch * m * k / kBlock;
  const Poisoned q(batch * m * k), blocks(num_blocks * static_cast<int64_t>(sizeof(BlockNumbers)));
  cuda::quantize_activations({.dtype = x.dtype(),
                              .x = x.raw_data(),
                              .x_batch = x.stride(0),
                              .x_row = x.stride(1),
                              .batch = batch,
                              .m = m,
                              .k = k,
                              .order = order,
                              .q = reinterpret_cast<int8_t*>(q.data()),
                              .blocks = reinterpret_cast<BlockNumbers*>(blocks.data())},
                             current_stream(0));
  Quantized result;
  for (const uint8_t byte : q.take()) result.q.push_back(static_cast<int8_t>(byte));
  const std::vector<uint8_t> bytes = blocks.take();
  for (int64_t i = 0; i < num_blocks; ++i) {
    BlockNumbers numbers;
    std::memcpy(&numbers, bytes.data() + i * sizeof(numbers), sizeof(numbers));
    result.blocks.push_back({numbers.d, numbers.sum, numbers.first_sum});
  }
  return result;
}

Quantized on_the_cpu(const Tensor& x, KOrder order) {
  const Tensor dense = x.to(kCPU).contiguous();
  const int64_t m = x.size(0) * x.size(1), k = x.size(2);
  Quantized result{std::vector<int8_t>(m * k), std::vector<BlockScale>(m * k / kBlock)};
  aotiny::quantize_activations(dense.raw_data(), dense.dtype(), k, m, k, order, 1, result.q.data(),
                               result.blocks.data());
  return result;
}

void expect_same_bits(const Tensor& x, KOrder order) {
  const Quantized found = on_device(x, order), expected = on_the_cpu(x, order);
  EXPECT_EQ(found.q, expected.q);
  ASSERT_EQ(found.blocks.size(), expected.blocks.size());
  int wrong = 0;
  for (size_t i = 0; i < expected.blocks.size() && wrong < 5; ++i) {
    const BlockScale &a = found.blocks[i], &b = expected.blocks[i];
    if (std::memcmp(&a, &b, sizeof(a)) == 0) continue;
    ADD_FAILURE() << "block " << i << ": d " << a.d << " sums " << a.sum << ' ' << a.first_sum
                  << ", on the CPU " << b.d << ' ' << b.sum << ' ' << b.first_sum;
    ++wrong;
  }
}

using CudaQuantizeActivations = GpuTest;

TEST_F(CudaQuantizeActivations, HasTheCpusBits) {
  for (const DType dtype : float_dtypes()) {
    const Tensor x = tensor_of(awkward_blocks(), {1, 1, 512}, dtype).to(gpu());
    for (const KOrder order : {KOrder::Natural, KOrder::EvenOdd}) {
      SCOPED_TRACE(std::string(dtype_name(dtype)) + (order == KOrder::Natural ? "" : " even-odd"));
      expect_same_bits(x, order);
    }
  }
}

TEST_F(CudaQuantizeActivations, OfManyShapes) {
  for (const auto& [batch, m, k] : {std::array<int64_t, 3>{1, 1, 32},
                                    {1, 3, 96},
                                    {2, 5, 64},
                                    {1, 257, 1120},
                                    {3, 1, 4096},
                                    {1, 2, 11008},
                                    {1, 70001, 32}}) {
    for (const DType dtype : float_dtypes()) {
      SCOPED_TRACE(::testing::Message() << batch << ' ' << m << ' ' << k << ' ' << dtype);
      const Tensor x = random_tensor({batch, m, k}, 3, dtype).to(gpu());
      expect_same_bits(x, m % 2 == 0 ? KOrder::Natural : KOrder::EvenOdd);
    }
  }
}

// Rows and matrices at any distance from each other, at any address.
TEST_F(CudaQuantizeActivations, OfStridedRows) {
  for (const DType dtype : float_dtypes()) {
    const Tensor room = random_tensor({3, 7, 203}, 4, dtype).to(gpu());
    for (const int64_t offset : {0, 1, 2, 4, 7, 8}) {
      const Tensor x = room.slice(2, offset, offset + 192);
      for (const Tensor& view : {x, x.slice(1, 1, 7, 2), x.slice(0, 0, 3, 2), x.transpose(0, 1),
                                 x.slice(1, 0, 1).expand(std::vector<int64_t>{3, 5, 192})}) {
        SCOPED_TRACE(::testing::Message() << view);
        expect_same_bits(view, KOrder::EvenOdd);
      }
    }
  }
}

}  // namespace
}  // namespace aotiny::cuda
