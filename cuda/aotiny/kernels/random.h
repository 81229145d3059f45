// Arrays of random numbers: uniform, normal, integers, permutations. The numbers are those that
// torch's CUDA generator makes from the same seed and offset on the same GPU.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "aotiny/core/dtype.h"
#include "aotiny/core/generator.h"

namespace aotiny::cuda {

// Where a kernel takes its numbers from: what `taken` points at in device memory, if that is not
// null, otherwise `state`.
struct RandomSource {
  RandomState state;
  const RandomState* taken;
};

// The offsets that filling `numel` elements takes on the current device, where one step of a
// thread makes `numbers` of them; 0 for none.
uint64_t random_offsets(int64_t numel, int numbers);
// How many numbers a step makes: for a floating-point dtype, for integers below `range`.
int random_numbers(DType dtype);
int random_numbers(uint64_t range);

// *taken = *generator, whose offset goes on by `count`, all in device memory.
void take_offsets(RandomState* generator, uint64_t count, RandomState* taken, cudaStream_t stream);

// out[i] in [from, to), rounded to the dtype; from if that would give to. A floating-point dtype.
void fill_uniform(DType dtype, void* out, int64_t numel, double from, double to,
                  RandomSource source, cudaStream_t stream);

// out[i] from the normal distribution. A floating-point dtype.
void fill_normal(DType dtype, void* out, int64_t numel, double mean, double std,
                 RandomSource source, cudaStream_t stream);

// out[i] = low + a number below `range`, which is not 0. A real dtype that holds all of them.
void fill_integers(DType dtype, void* out, int64_t numel, int64_t low, uint64_t range,
                   RandomSource source, cudaStream_t stream);

// How many of the bits of its random keys a permutation of n numbers is sorted by, so that few of
// the keys are equal; n >= 1.
int permutation_bits(int64_t n);
// The range that the keys are drawn from.
uint64_t permutation_range(int bits);
// Values whose keys, in order, have equal lowest `bits` bits are shuffled among themselves.
void shuffle_equal_keys(const uint64_t* keys, uint32_t* values, int64_t n, int bits,
                        RandomSource source, cudaStream_t stream);
// values[i] = i.
void fill_range(uint32_t* values, int64_t n, cudaStream_t stream);

}  // namespace aotiny::cuda
