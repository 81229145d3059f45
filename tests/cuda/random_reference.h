// Philox 4x32-10 on the host, written from its definition, and the order in which a kernel's
// threads give its numbers to the elements.
#pragma once

#include <array>
#include <cmath>

#include "gpu_test.h"

namespace aotiny::cuda {

using Words = std::array<uint32_t, 4>;

inline Words philox_reference(Words counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t even = 0xD2511F53ull * counter[0], odd = 0xCD9E8D57ull * counter[2];
    counter = {static_cast<uint32_t>(odd >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(odd),
               static_cast<uint32_t>(even >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(even)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// The words of one thread's step: the offset counts fours.
inline Words words_of(uint64_t seed, uint64_t offset, uint64_t thread, uint64_t step) {
  const uint64_t low = offset / 4 + step;
  return philox_reference({static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32),
                           static_cast<uint32_t>(thread), static_cast<uint32_t>(thread >> 32)},
                          {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
}

// How many threads fill `numel` elements: blocks of 256, as many as the device holds at a time.
inline int64_t filling_threads(int64_t numel, int device = 0) {
  int multiprocessors = 0, threads = 0;
  AOTINY_CUDA_CHECK(
      cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device));
  AOTINY_CUDA_CHECK(
      cudaDeviceGetAttribute(&threads, cudaDevAttrMaxThreadsPerMultiProcessor, device));
  return std::min<int64_t>((numel + 255) / 256, int64_t{multiprocessors} * (threads / 256)) * 256;
}

// element(words, part) for every element, where a step makes `parts` of them.
template <class T, class F>
std::vector<T> filled(int64_t numel, uint64_t seed, uint64_t offset, int parts, F&& element) {
  std::vector<T> values(static_cast<size_t>(numel));
  const int64_t threads = filling_threads(numel);
  for (int64_t i = 0; i < numel; ++i) {
    const int64_t at_once = threads * parts;
    const int64_t step = i / at_once, part = i % at_once / threads, thread = i % threads;
    values[static_cast<size_t>(i)] =
        element(words_of(seed, offset, static_cast<uint64_t>(thread), static_cast<uint64_t>(step)),
                static_cast<int>(part));
  }
  return values;
}

// How far filling `numel` elements moves the offset.
inline uint64_t offsets_used(int64_t numel, int parts) {
  return static_cast<uint64_t>((numel - 1) / (filling_threads(numel) * parts) + 1) * 4;
}

// In (0, 1].
inline float unit_float(uint32_t word) {
  return std::fma(static_cast<float>(word), 0x1p-32f, 0x1p-33f);
}
inline double unit_double(const Words& words, int part) {
  const uint64_t bits = words[2 * part] ^ (uint64_t{words[2 * part + 1]} << 21);
  return std::fma(static_cast<double>(bits), 0x1p-53, 0x1p-54);
}

// Random numbers of a fixed seed for the test, and another afterwards.
class RandomTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped()) cuda_interface().manual_seed(gpu(), kSeed);
  }
  static constexpr uint64_t kSeed = 0x0123456789abcdef;
};

}  // namespace aotiny::cuda
