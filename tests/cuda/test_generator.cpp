// The generator of random numbers: seeds, offsets, threads, graphs.
#include "aotiny/core/generator.h"

#include <set>
#include <thread>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "random_reference.h"

namespace aotiny::cuda {
namespace {

using Generators = RandomTest;

// The vectors that Philox's authors publish with their Random123 library.
TEST(PhiloxReference, IsPhilox) {
  EXPECT_EQ(philox_reference({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox_reference({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox_reference({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(GeneratorState, CountsInFours) {
  Generator generator(0);
  generator.manual_seed(42);
  EXPECT_EQ(generator.seed(), 42u);
  EXPECT_EQ(generator.take(1).offset, 0u);
  EXPECT_EQ(generator.take(4).offset, 4u);
  EXPECT_EQ(generator.take(0).offset, 8u);
  EXPECT_EQ(generator.take(5).offset, 8u);
  EXPECT_EQ(generator.take(1).offset, 16u);
  generator.manual_seed(UINT64_MAX);
  const RandomState state = generator.take(1);
  EXPECT_EQ(state.seed, UINT64_MAX);
  EXPECT_EQ(state.offset, 0u);
}

TEST(GeneratorState, BeginsWithAnotherSeedEachTime) {
  EXPECT_NE(Generator(0).seed(), Generator(0).seed());
}

TEST(GeneratorState, ThreadsGetDifferentOffsets) {
  Generator generator(0);
  std::vector<std::vector<uint64_t>> taken(8);
  std::vector<std::thread> threads;
  for (auto& offsets : taken) {
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) offsets.push_back(generator.take(4).offset);
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<uint64_t> all;
  for (const auto& offsets : taken) all.insert(offsets.begin(), offsets.end());
  EXPECT_EQ(all.size(), 8000u);
  EXPECT_EQ(*all.rbegin(), 4u * 7999);
}

std::vector<float> draw(int64_t numel = 1000) {
  const Ints sizes = {numel};
  Handle made;
  EXPECT_EQ(
      aoti_torch_cuda_rand(sizes.data(), 1, nullptr, nullptr, nullptr, 0, nullptr, made.out()), kOk)
      << last_error();
  return values_of<float>(made.tensor().to(kCPU));
}

TEST_F(Generators, ASeedBeginsItsSequenceAnew) {
  const auto first = draw(), second = draw();
  EXPECT_NE(first, second);
  cuda_interface().manual_seed(gpu(), kSeed);
  EXPECT_EQ(cuda_interface().seed(gpu()), kSeed);
  EXPECT_EQ(draw(), first);
  EXPECT_EQ(draw(), second);
  cuda_interface().manual_seed(gpu(), kSeed + 1);
  EXPECT_NE(draw(), first);
  failure(Status::InvalidArgument, [] { cuda_interface().manual_seed(gpu(device_count()), 1); });
}

// What a graph puts into `results` when it is launched again and again.
struct Replayed {
  Replayed()
      : first(Tensor::empty(Ints{1000}, DType::Float32, gpu())),
        second(Tensor::empty(Ints{1000}, DType::Float32, gpu())),
        graph([&] {
          for (const Tensor& result : {first, second}) {
            const Handle like(result);
            const Ints sizes = {1000};
            Handle made;
            ASSERT_EQ(aoti_torch_cuda_rand(sizes.data(), 1, nullptr, nullptr, nullptr, 0, nullptr,
                                           made.out()),
                      kOk)
                << last_error();
            result.copy_(made.tensor());
          }
        }) {}
  std::vector<std::vector<float>> run() {
    graph.run();
    return {values_of<float>(first.to(kCPU)), values_of<float>(second.to(kCPU))};
  }
  Tensor first, second;
  Captured graph;
};

TEST_F(Generators, GraphsDrawOtherNumbersEachTime) {
  const auto eager = draw();
  Replayed replayed;
  std::set<std::vector<float>> seen{eager};
  std::vector<std::vector<float>> in_order;
  for (int i = 0; i < 5; ++i) {
    for (const auto& values : replayed.run()) {
      in_order.push_back(values);
      seen.insert(values);
    }
    seen.insert(draw());
  }
  EXPECT_EQ(seen.size(), 16u);  // 1 before, 5 times 2 in the graph and 1 outside
  for (const auto& values : seen) {
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    EXPECT_GE(*least, 0.0f);
    EXPECT_LT(*most, 1.0f);
    EXPECT_GT(*most - *least, 0.9f);
  }

  // The same numbers again after the same seed, also in another graph.
  cuda_interface().manual_seed(gpu(), kSeed);
  EXPECT_EQ(draw(), eager);
  EXPECT_EQ(replayed.run()[0], in_order[0]);
  Replayed other;
  EXPECT_EQ(other.run()[0], in_order[2]);
  EXPECT_EQ(replayed.run()[1], in_order[5]);
}

TEST_F(Generators, GraphsDrawTheSeedsOwnNumbers) {
  Replayed replayed;
  cuda_interface().manual_seed(gpu(), kSeed);
  const uint64_t begin = uint64_t{1} << 63, used = offsets_used(1000, 4);
  const auto expected = [&](uint64_t offset) {
    return filled<float>(1000, kSeed, offset, 4, [](const Words& words, int part) {
      const float value = unit_float(words[static_cast<size_t>(part)]);
      return value == 1.0f ? 0.0f : value;
    });
  };
  const auto values = replayed.run();
  EXPECT_EQ(values[0], expected(begin));
  EXPECT_EQ(values[1], expected(begin + used));
  EXPECT_EQ(replayed.run()[0], expected(begin + 2 * used));
}

TEST_F(Generators, DevicesHaveGeneratorsOfTheirOwn) {
  if (device_count() < 2) GTEST_SKIP() << "there is one GPU";
  cuda_interface().manual_seed(gpu(1), kSeed + 9);
  EXPECT_EQ(cuda_interface().seed(gpu(0)), kSeed);
  const auto first = draw();
  cuda_interface().manual_seed(gpu(0), kSeed);
  cuda_interface().manual_seed(gpu(1), kSeed);
  const DeviceGuard guard(1);  // a null device is the current one
  EXPECT_EQ(draw(), first);
}

}  // namespace
}  // namespace aotiny::cuda
