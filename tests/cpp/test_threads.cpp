#include "aotiny/core/threads.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <latch>
#include <thread>

#include "aotiny/core/parallel.h"
#include "aotiny/core/status.h"

namespace aotiny {
namespace {

namespace fs = std::filesystem;

class Threads : public ::testing::Test {
 protected:
  void TearDown() override { set_num_threads(0); }
};

int in_another_thread(int (*call)() noexcept) {
  int result = 0;
  std::thread([&] { result = call(); }).join();
  return result;
}

TEST_F(Threads, TheNumberIsForEveryThreadOfTheProcess) {
  set_num_threads(3);
  EXPECT_EQ(num_threads(), 3);
  EXPECT_EQ(in_another_thread(num_threads), 3);
  std::atomic<int> pieces{0};
  parallel_for(100, 1, [&](int64_t, int64_t) { ++pieces; });
  EXPECT_EQ(pieces, 3);
}

TEST_F(Threads, TheDefaultIsOpenMPsButNoMoreThanThereAreProcessors) {
  if (std::getenv("OMP_NUM_THREADS") != nullptr) GTEST_SKIP() << "OMP_NUM_THREADS is set";
  set_num_threads(5);
  set_num_threads(0);
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  EXPECT_EQ(num_threads(), 1);
  omp_set_num_threads(num_processors() + 7);
  EXPECT_EQ(num_threads(), num_processors());
  omp_set_num_threads(before);
}

TEST_F(Threads, RefusesOtherNumbers) {
  set_num_threads(2);
  for (int64_t count : {int64_t{-1}, kMaxThreads + 1, int64_t{1} << 40}) {
    try {
      set_num_threads(count);
      FAIL() << count;
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::InvalidArgument);
      const std::string text = error.what();
      EXPECT_NE(text.find(std::to_string(count)), std::string::npos) << text;
      EXPECT_NE(text.find("0..4096"), std::string::npos) << text;
    }
  }
  EXPECT_EQ(num_threads(), 2);
}

TEST_F(Threads, RunsAtTheSameTimeDivideThem) {
  set_num_threads(8);
  const int before = omp_get_max_threads();
  {
    const ThreadShare alone;
    EXPECT_EQ(num_threads(), 8);
    EXPECT_EQ(omp_get_max_threads(), 8);
    std::thread([] {
      const int own_before = omp_get_max_threads();
      {
        const ThreadShare second;
        EXPECT_EQ(num_threads(), 4);
        EXPECT_EQ(omp_get_max_threads(), 4);
        const ThreadShare nested;  // which makes no more of its share
        EXPECT_EQ(num_threads(), 4);
      }
      EXPECT_EQ(num_threads(), 8);
      EXPECT_EQ(omp_get_max_threads(), own_before);
    }).join();
    EXPECT_EQ(num_threads(), 8);
  }
  EXPECT_EQ(omp_get_max_threads(), before);
  const ThreadShare again;
  EXPECT_EQ(num_threads(), 8);
}

TEST_F(Threads, EveryRunHasOne) {
  set_num_threads(2);
  constexpr int kRuns = 5;
  std::latch all(kRuns);
  std::vector<std::thread> threads;
  std::atomic<int> least{100};
  for (int i = 0; i < kRuns; ++i) {
    threads.emplace_back([&] {
      const ThreadShare share;
      all.arrive_and_wait();
      int known = least;
      while (num_threads() < known && !least.compare_exchange_weak(known, num_threads())) {
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(least, 1);
}

TEST_F(Threads, ProcessorsAreThoseOfTheMask) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  find_processors();
  EXPECT_EQ(num_processors(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  find_processors();
  EXPECT_LE(num_processors(), CPU_COUNT(&before));
  EXPECT_GE(num_processors(), 1);
}

// A file system with cgroups as they are told.
class Cgroups : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("aotiny_cgroups_" + std::to_string(getpid()));
    fs::remove_all(root_);
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& path, const std::string& text) {
    fs::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  double processors() const { return cgroup_processors(root_.string()); }

  fs::path root_;
};

TEST_F(Cgroups, WithoutAnyThereIsNoLimit) { EXPECT_EQ(processors(), INFINITY); }

TEST_F(Cgroups, VersionTwoTakesTheLeastOfTheGroupAndItsParents) {
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  EXPECT_EQ(processors(), INFINITY);
  write("sys/fs/cgroup/outer/cpu.max", "250000 100000\n");
  EXPECT_EQ(processors(), 2.5);
  write("sys/fs/cgroup/outer/inner/cpu.max", "50000 100000\n");
  EXPECT_EQ(processors(), 0.5);
}

TEST_F(Cgroups, InAContainerTheGroupIsTheRoot) {
  write("proc/self/cgroup", "0::/docker/not-to-be-seen\n");
  write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(processors(), 3.0);
}

TEST_F(Cgroups, VersionOneHasTwoFiles) {
  write("proc/self/cgroup", "9:name=systemd:/\n3:cpuset:/a\n2:cpu,cpuacct:/a:b\n");
  write("sys/fs/cgroup/cpu,cpuacct/a:b/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu,cpuacct/a:b/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpuset/a/cpu.cfs_quota_us", "1\n");  // another controller's
  EXPECT_EQ(processors(), INFINITY);
  write("sys/fs/cgroup/cpu,cpuacct/a:b/cpu.cfs_quota_us", "400000\n");
  EXPECT_EQ(processors(), 4.0);
  write("proc/self/cgroup", "2:cpu:/\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(processors(), INFINITY);  // no period
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(processors(), 1.5);
}

TEST_F(Cgroups, WhatIsNoLimitIsNone) {
  write("proc/self/cgroup", "nothing\n0::relative\n0::/g\n");
  for (const char* text : {"", "max", "100000", "100000 0", "many few"}) {
    write("sys/fs/cgroup/g/cpu.max", text);
    EXPECT_EQ(processors(), INFINITY) << text;
  }
}

}  // namespace
}  // namespace aotiny
