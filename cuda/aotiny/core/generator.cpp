#include "aotiny/core/generator.h"

#include <cuda_runtime.h>

#include <random>

#include "aotiny/core/check.h"
#include "aotiny/core/guard.h"
#include "aotiny/core/status.h"
#include "aotiny/core/stream.h"

namespace aotiny::cuda {
namespace {

// Half of the sequence is for graphs.
constexpr uint64_t kFirstReplayOffset = uint64_t{1} << 63;

uint64_t fresh_seed() {
  std::random_device source;
  return (uint64_t{source()} << 32) | source();
}

}  // namespace

Generator::Generator(int device) : device_(device), state_{fresh_seed(), 0} {}

Generator::~Generator() {
  if (replay_state_ == nullptr) return;
  try {
    const DeviceGuard guard(device_);
    (void)cudaFree(replay_state_);
  } catch (const Error&) {  // the driver is gone, or of no more use
  }
}

void Generator::manual_seed(uint64_t seed) {
  const std::lock_guard lock(mutex_);
  if (replay_state_ != nullptr) write_replay_state(replay_state_, seed);
  state_ = {seed, 0};
}

uint64_t Generator::seed() const {
  const std::lock_guard lock(mutex_);
  return state_.seed;
}

RandomState Generator::take(uint64_t count) {
  const std::lock_guard lock(mutex_);
  const RandomState taken = state_;
  state_.offset += rounded_offsets(count);
  return taken;
}

RandomState* Generator::replay_state() {
  const std::lock_guard lock(mutex_);
  if (replay_state_ != nullptr) return replay_state_;
  const DeviceGuard guard(device_);
  RandomState* made = nullptr;
  AOTINY_CUDA_CHECK(cudaMalloc(&made, sizeof(RandomState)));
  try {
    write_replay_state(made, state_.seed);
  } catch (...) {
    (void)cudaFree(made);
    throw;
  }
  return replay_state_ = made;
}

// In a stream of its own, which waits for no other: the calling thread's may be captured.
void Generator::write_replay_state(RandomState* target, uint64_t seed) const {
  const DeviceGuard guard(device_);
  const Stream stream(device_);
  const RandomState state{seed, kFirstReplayOffset};
  AOTINY_CUDA_CHECK(
      cudaMemcpyAsync(target, &state, sizeof(state), cudaMemcpyHostToDevice, stream.get()));
  AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
}

}  // namespace aotiny::cuda
