// Turns among threads, of which so many may be under way at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace aotiny {

// Not std::counting_semaphore: that of GCC 12 may sleep although a turn is free, since a thread
// that gives one back wakes nobody where it believes that nobody sleeps yet.
class Turns {
 public:
  explicit Turns(int64_t count) : free_(count) {}

  void take() {
    std::unique_lock lock(mutex_);
    one_is_free_.wait(lock, [this] { return free_ > 0; });
    --free_;
  }
  void give_back() {
    {
      const std::lock_guard lock(mutex_);
      ++free_;
    }
    one_is_free_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable one_is_free_;
  int64_t free_;
};

// One turn, for the scope.
class Turn {
 public:
  explicit Turn(Turns& turns) : turns_(turns) { turns_.take(); }
  ~Turn() { turns_.give_back(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  Turns& turns_;
};

}  // namespace aotiny
