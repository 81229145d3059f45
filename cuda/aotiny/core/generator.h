// Random numbers: which part of the Philox sequence of its seed each draw gets, on one device.
//
// The sequence of a seed is numbered by offsets. A draw takes the next of them, as torch does, so
// that the same draws after the same seed are torch's numbers. In a stream that is being captured
// the offset is not known yet: the graph takes it from device memory each time that it is launched,
// from a part of the sequence that other draws never reach.
#pragma once

#include <cstdint>
#include <mutex>

namespace aotiny::cuda {

// Where in which sequence a kernel begins.
struct RandomState {
  uint64_t seed;
  uint64_t offset;  // a multiple of 4
};

class Generator {
 public:
  explicit Generator(int device);  // with a seed that is different each time
  ~Generator();
  Generator(const Generator&) = delete;
  Generator& operator=(const Generator&) = delete;

  // Begins the sequence of another seed. Graphs that are launched from now on draw from it too; for
  // those that still run, synchronise first.
  void manual_seed(uint64_t seed);
  uint64_t seed() const;

  // The next `count` offsets.
  RandomState take(uint64_t count);
  // The state that graphs draw from, in device memory that stays where it is.
  RandomState* replay_state();

 private:
  void write_replay_state(RandomState* target, uint64_t seed) const;

  int device_;
  mutable std::mutex mutex_;
  RandomState state_{};
  RandomState* replay_state_ = nullptr;  // none before the first capture that draws
};

// `count` offsets are taken a multiple of 4 at a time: Philox makes four numbers at once.
constexpr uint64_t rounded_offsets(uint64_t count) { return (count + 3) / 4 * 4; }

}  // namespace aotiny::cuda
