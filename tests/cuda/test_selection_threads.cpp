// Selection, scans and random numbers by several threads at once, each with a stream of its own.
#include <thread>

#include "aotiny/abi/aoti_torch_cuda.h"
#include "random_reference.h"
#include "strided_samples.h"

namespace aotiny::cuda {
namespace {

using SelectionThreads = RandomTest;

constexpr int kThreads = 8;
constexpr int kRounds = 20;

// The bytes of what every function makes of the thread's input.
std::vector<uint8_t> all_results(const Tensor& host) {
  const Handle x(host.to(gpu()));
  Handle sorted, order, best, places, sums, found;
  EXPECT_EQ(aoti_torch_cuda_sort_stable(x, nullptr, 0, 1, sorted.out(), order.out()), kOk)
      << last_error();
  EXPECT_EQ(aoti_torch_cuda_topk(x, 9, 1, 1, 1, best.out(), places.out()), kOk) << last_error();
  EXPECT_EQ(aoti_torch_cuda_cumsum(x, 1, nullptr, sums.out()), kOk) << last_error();
  EXPECT_EQ(aoti_torch_cuda_nonzero(x, found.out()), kOk) << last_error();
  std::vector<uint8_t> bytes;
  for (const Handle* result : {&sorted, &order, &best, &places, &sums, &found}) {
    const auto more = bytes_of(result->tensor());
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  return bytes;
}

TEST_F(SelectionThreads, GiveWhatOneThreadGives) {
  constexpr DType kDtypes[] = {DType::Float32, DType::BFloat16, DType::Int64, DType::UInt8};
  std::vector<Tensor> hosts;
  std::vector<std::vector<uint8_t>> expected;
  for (int i = 0; i < kThreads; ++i) {
    hosts.push_back(ties({40 + i, 3000 + 111 * i}, kDtypes[i % 4], static_cast<uint64_t>(i)));
    expected.push_back(all_results(hosts.back()));
  }
  std::vector<int> wrong(kThreads);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const auto at = static_cast<size_t>(i);
      const Stream stream(0);
      const StreamGuard guard(0, stream.get());
      for (int round = 0; round < kRounds; ++round) {
        wrong[at] += all_results(hosts[at]) != expected[at];
      }
      AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(kThreads));
}

// Whatever the order of the threads, no two draws are the same, and together they are those that
// one thread would have made.
TEST_F(SelectionThreads, DrawDifferentNumbers) {
  const Ints sizes = {1000};
  const auto draw = [&] {
    Handle made;
    EXPECT_EQ(
        aoti_torch_cuda_rand(sizes.data(), 1, nullptr, nullptr, nullptr, 0, nullptr, made.out()),
        kOk)
        << last_error();
    return values_of<float>(made.tensor().to(kCPU));
  };
  std::vector<std::vector<float>> expected, drawn(kThreads * kRounds);
  for (int i = 0; i < kThreads * kRounds; ++i) expected.push_back(draw());
  cuda_interface().manual_seed(gpu(), kSeed);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      const Stream stream(0);
      const StreamGuard guard(0, stream.get());
      for (int round = 0; round < kRounds; ++round) {
        drawn[static_cast<size_t>(i * kRounds + round)] = draw();
      }
      AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
    });
  }
  for (auto& thread : threads) thread.join();
  std::sort(expected.begin(), expected.end());
  std::sort(drawn.begin(), drawn.end());
  EXPECT_TRUE(drawn == expected);
}

}  // namespace
}  // namespace aotiny::cuda
