#include "aotiny/core/generator.h"

#include <cuda_runtime.h>

#include <random>

#include "aotiny/core/check.h"
#include "aotiny/core/guard.h"
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
  if (replay_state_ != nullptr) (void)cudaFree(replay_state_);
}

void Generator::manual_seed(uint64_t seed) {
  const std::lock_guard lock(mutex_);
  state_ = {seed, 0};
  if (replay_state_ != nullptr) write_replay_state();
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
  if (replay_state_ == nullptr) {
    const DeviceGuard guard(device_);
    const OutsideCapture outside;
    AOTINY_CUDA_CHECK(cudaMalloc(&replay_state_, sizeof(RandomState)));
    write_replay_state();
  }
  return replay_state_;
}

// In a stream of its own, which waits for no other: the calling thread's may be captured.
void Generator::write_replay_state() {
  const DeviceGuard guard(device_);
  const OutsideCapture outside;
  const Stream stream(device_);
  const RandomState state{state_.seed, kFirstReplayOffset};
  AOTINY_CUDA_CHECK(
      cudaMemcpyAsync(replay_state_, &state, sizeof(state), cudaMemcpyHostToDevice, stream.get()));
  AOTINY_CUDA_CHECK(cudaStreamSynchronize(stream.get()));
}

}  // namespace aotiny::cuda
