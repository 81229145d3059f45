// Philox 4x32-10: four random 32-bit numbers from a key and a counter, by ten rounds of
// multiplications (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3"). The key is the
// seed; the counter's low half is a quarter of the offset, its high half the thread's number.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "aotiny/core/generator.h"

namespace aotiny::cuda {

class Philox {
 public:
  __device__ Philox(RandomState state, uint64_t thread)
      : seed_(state.seed), low_(state.offset / 4), high_(thread) {}

  // The next four numbers.
  __device__ uint4 next() {
    const uint4 numbers =
        rounds(make_uint4(word(low_, 0), word(low_, 1), word(high_, 0), word(high_, 1)));
    if (++low_ == 0) ++high_;
    return numbers;
  }

 private:
  __device__ static uint32_t word(uint64_t value, int index) {
    return static_cast<uint32_t>(value >> (32 * index));
  }

  __device__ uint4 rounds(uint4 counter) const {
    constexpr uint32_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
    constexpr uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
    uint32_t key0 = word(seed_, 0), key1 = word(seed_, 1);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
      const uint64_t product0 = uint64_t{kMultiplier0} * counter.x;
      const uint64_t product1 = uint64_t{kMultiplier1} * counter.z;
      counter = make_uint4(word(product1, 1) ^ counter.y ^ key0, word(product1, 0),
                           word(product0, 1) ^ counter.w ^ key1, word(product0, 0));
      key0 += kWeyl0;
      key1 += kWeyl1;
    }
    return counter;
  }

  uint64_t seed_, low_, high_;
};

}  // namespace aotiny::cuda
