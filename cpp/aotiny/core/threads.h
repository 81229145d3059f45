// How many OpenMP threads a call may use.
//
// Compiled kernels and ours share OpenMP's threads, which wait for each other by spinning: more
// threads than processors make a run slower by orders of magnitude, not by a share. So the default
// is what this process may really use, and a run that begins while others are under way takes one
// part in so many.
#pragma once

#include <cstdint>
#include <string>

namespace aotiny {

// What a call from this thread may use, at least 1: in a run, the run's share; otherwise what
// set_num_threads says; otherwise what OpenMP says (OMP_NUM_THREADS, or what this thread has told
// it), but no more than there are processors, unless OMP_NUM_THREADS is set.
int num_threads() noexcept;
// For all calls from any thread; 0 asks for the default again. Fails with InvalidArgument outside
// 0..kMaxThreads.
void set_num_threads(int64_t count);
inline constexpr int64_t kMaxThreads = 4096;

// Processors that this process may use: those of its affinity mask, or fewer where a cgroup limits
// its time. Found when it is first asked for and by find_processors.
int num_processors() noexcept;
// Looks again: the mask may have changed.
void find_processors() noexcept;
// The processors' worth of time that the cgroups of this process, versions 1 and 2, grant it;
// infinity without a limit. `root` is where the file system begins.
double cgroup_processors(const std::string& root = "/");

// A run of compiled code on this thread: for the scope, OpenMP's regions that this thread begins
// have its share of the threads, one in so many runs as there are.
class ThreadShare {
 public:
  ThreadShare() noexcept;
  ~ThreadShare();
  ThreadShare(const ThreadShare&) = delete;
  ThreadShare& operator=(const ThreadShare&) = delete;

 private:
  int share_before_;
  int openmp_before_;
};

}  // namespace aotiny
