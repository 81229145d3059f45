// Eight threads, each with a stream of its own, over the same weights of every format: results are
// those of the serial run, bit for bit, and memory does not grow.
//
// AOTINY_STRESS_SECONDS says how long; 3 if it is not set.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <thread>

#include "cuda_products.h"

namespace aotiny::cuda {
namespace {

constexpr int kThreads = 8;

double seconds_to_run() {
  const char* text = std::getenv("AOTINY_STRESS_SECONDS");
  return text == nullptr ? 3 : std::atof(text);
}

// Something to compute and what it gives.
struct Job {
  std::string name;
  std::function<Tensor()> compute;
  std::vector<uint8_t> expected;
};

std::vector<Job> make_jobs(Device device) {
  std::vector<Job> jobs;
  uint32_t seed = 1;
  const auto add = [&](std::string name, std::function<Tensor()> compute) {
    jobs.push_back({std::move(name), compute, bytes_of(compute())});
  };
  for (const FormatId format : all_formats()) {
    const int64_t group_size = group_for(format, 64), k = 512;
    const Weight weight =
        random_weight(format, n_for(format, 90), k, group_size, seed++).to(device);
    const Weight stack =
        random_stack(format, 2, n_for(format, 40), k, group_size, seed++).to(device);
    const std::string name = format_name(format);
    for (const int64_t m : {1, 3, 17, 70}) {
      const DType dtype = float_dtypes()[seed % 3];
      const Tensor x = random_tensor({m, k}, seed++, dtype).to(device);
      const Tensor pair = random_tensor({2, m, k}, seed++, dtype).to(device);
      const Tensor bias = random_tensor({weight.n()}, seed++).to(device);
      for (const Activation activation : {Activation::Int8, Activation::Native}) {
        if (activation == Activation::Int8 && !weight.info().plain) continue;
        std::ostringstream what;
        what << name << ' ' << activation << " m=" << m << ' ' << dtype;
        add("matmul " + what.str(), [=] { return matmul(x, weight, activation, &bias); });
        add("bmm " + what.str(), [=] { return bmm(pair, stack, activation); });
      }
    }
    Tensor rows = Tensor::empty(std::vector<int64_t>{23}, DType::Int64);
    for (int64_t i = 0; i < 23; ++i) rows.data<int64_t>()[i] = i * 37 % weight.n();
    rows = rows.to(device);
    add("embedding " + name, [=] { return embedding(rows, weight, DType::BFloat16); });
    add("dequantize " + name, [=] { return weight.dequantize(); });
  }
  return jobs;
}

class StressThreads : public GpuTest {
 protected:
  // Every thread takes jobs in its own order, all of them at least once, until the time is up.
  static void run(const std::vector<Job>& jobs, Device device, double seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::atomic<int64_t> done = 0, wrong = 0;
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        try {
          const Stream stream(device.index);
          const StreamGuard guard(device.index, stream.get());
          std::mt19937 random(t);
          std::vector<size_t> order(jobs.size());
          std::iota(order.begin(), order.end(), 0);
          do {
            std::ranges::shuffle(order, random);
            for (size_t i = 0; i < order.size() && wrong < 5; ++i) {
              const Job& job = jobs[order[i]];
              if (bytes_of(job.compute()) != job.expected) {
                ++wrong;
                ADD_FAILURE() << "thread " << t << ": " << job.name << " differs";
              }
              ++done;
            }
          } while (std::chrono::steady_clock::now() < end && wrong < 5);
          // What was allocated at the stream comes back before it goes.
          AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
        } catch (const std::exception& error) {
          wrong += 5;
          ADD_FAILURE() << "thread " << t << ": " << error.what();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    std::cout << done << " jobs of " << jobs.size() << " kinds in " << kThreads << " threads on "
              << device << '\n';
  }
};

TEST_F(StressThreads, GiveTheSerialResultsAndKeepNoMemory) {
  const Device device = gpu(device_count() - 1);
  const DeviceGuard guard(device.index);
  const std::vector<Job> jobs = make_jobs(device);
  cuda_interface().synchronize(device);
  CudaAllocator& allocator = cuda_interface().allocator();
  run(jobs, device, 0);  // until now no thread but this one had anything cached
  const AllocatorStats before = allocator.stats(device);
  run(jobs, device, seconds_to_run());
  const AllocatorStats after = allocator.stats(device);
  EXPECT_EQ(after.allocated_bytes, before.allocated_bytes);
  // The pool grows in steps of 32 MiB, as far as threads happen to need memory at the same time.
  EXPECT_LE(after.reserved_bytes, before.reserved_bytes + (uint64_t{64} << 20));
  std::cout << after.num_allocations - before.num_allocations << " allocations; reserved "
            << before.reserved_bytes << " bytes before, " << after.reserved_bytes << " after\n";
}

}  // namespace
}  // namespace aotiny::cuda
