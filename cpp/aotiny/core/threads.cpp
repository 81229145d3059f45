#include "aotiny/core/threads.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>

#include "aotiny/core/status.h"

namespace aotiny {
namespace {

constexpr double kNoLimit = std::numeric_limits<double>::infinity();

// One of each a process, as OpenMP's threads are.
std::atomic<int> g_wanted{0};      // by set_num_threads; 0 for the default
std::atomic<int> g_processors{0};  // 0 until they are looked for
std::atomic<int> g_runs{0};
thread_local int t_share = 0;  // 0 outside of runs

// What OMP_NUM_THREADS says is meant, whatever the machine; OpenMP passes over what is no number.
bool is_set_by_user() noexcept {
  static const bool is_set = [] {
    const char* value = std::getenv("OMP_NUM_THREADS");
    return value != nullptr && std::atoi(value) > 0;
  }();
  return is_set;
}

// Version 2: "max 100000" or "50000 100000", microseconds of every so many.
double limit_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max" || period <= 0) return kNoLimit;
  return std::atof(quota.c_str()) / period;
}

// Version 1: two files, the quota -1 for none.
double limit_v1(const std::string& folder) {
  double quota = 0, period = 0;
  if (!(std::ifstream(folder + "/cpu.cfs_quota_us") >> quota) || quota <= 0) return kNoLimit;
  if (!(std::ifstream(folder + "/cpu.cfs_period_us") >> period) || period <= 0) return kNoLimit;
  return quota / period;
}

// The least limit of a group and of those it is in. In a container the path may be one of the
// host's, of which only the last group is to be seen, as the mount's root.
template <class Limit>
double least_limit(const std::string& mount, std::string path, Limit&& limit) {
  double least = limit(mount);
  for (; path.size() > 1; path.erase(path.rfind('/'))) least = std::min(least, limit(mount + path));
  return least;
}

int affinity_processors() noexcept {
  // The process's: a thread that loads a model may be bound to less than the others have. Where
  // OpenMP binds its threads, the first one has a processor to itself, and OpenMP knows of all.
  cpu_set_t mask;
  if (omp_get_proc_bind() == omp_proc_bind_false &&
      ::sched_getaffinity(::getpid(), sizeof mask, &mask) == 0) {
    return std::max(CPU_COUNT(&mask), 1);
  }
  return std::max(omp_get_num_procs(), 1);
}

}  // namespace

double cgroup_processors(const std::string& root) {
  double least = kNoLimit;
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path
    std::istringstream fields(line);
    std::string number, controllers, path;
    std::getline(std::getline(fields, number, ':'), controllers, ':');
    std::getline(fields, path);
    if (!path.starts_with('/')) continue;
    const std::string mounts = root + "/sys/fs/cgroup";
    if (controllers.empty()) {
      least = std::min(least, least_limit(mounts, path, limit_v2));
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      for (const char* mount : {"/cpu", "/cpu,cpuacct"}) {
        least = std::min(least, least_limit(mounts + mount, path, limit_v1));
      }
    }
  }
  return least;
}

void find_processors() noexcept {
  int found = affinity_processors();
  try {
    // Of a part of a processor a thread that spins would only use up the others' time.
    const double limit = cgroup_processors();
    if (limit < found) found = std::max(static_cast<int>(limit), 1);
  } catch (...) {  // no memory to read the limit
  }
  g_processors.store(found, std::memory_order_relaxed);
}

int num_processors() noexcept {
  if (g_processors.load(std::memory_order_relaxed) == 0) find_processors();
  return g_processors.load(std::memory_order_relaxed);
}

int num_threads() noexcept {
  if (t_share != 0) return t_share;
  if (const int wanted = g_wanted.load(std::memory_order_relaxed)) return wanted;
  const int offered = std::max(omp_get_max_threads(), 1);
  return is_set_by_user() ? offered : std::min(offered, num_processors());
}

void set_num_threads(int64_t count) {
  require(count >= 0 && count <= kMaxThreads, Status::InvalidArgument, count,
          " threads: the number must lie in 0..", kMaxThreads, ", 0 for the default");
  g_wanted.store(static_cast<int>(count), std::memory_order_relaxed);
}

ThreadShare::ThreadShare() noexcept
    : share_before_(t_share), openmp_before_(omp_get_max_threads()) {
  const int runs = g_runs.fetch_add(1, std::memory_order_relaxed) + 1;
  // A run within a run has its share already, of which it can make no more.
  if (share_before_ == 0) t_share = std::max(num_threads() / runs, 1);
  if (t_share != openmp_before_) omp_set_num_threads(t_share);
}

ThreadShare::~ThreadShare() {
  g_runs.fetch_sub(1, std::memory_order_relaxed);
  if (t_share != openmp_before_) omp_set_num_threads(openmp_before_);
  t_share = share_before_;
}

}  // namespace aotiny
