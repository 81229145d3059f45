#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "aotiny/core/cpu_allocator.h"
#include "aotiny/core/scratch.h"
#include "aotiny/core/status.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace aotiny {
namespace {

TEST(CpuAllocator, ClassesHoldTheirRequestsAndWasteLittle) {
  for (size_t nbytes = 1; nbytes < 100000; nbytes += 7) {
    const size_t bytes = CpuAllocator::class_bytes(CpuAllocator::size_class(nbytes));
    EXPECT_GE(bytes, nbytes);
    EXPECT_LE(bytes, std::max<size_t>(nbytes + nbytes / 4 + 64, 64)) << nbytes;
    EXPECT_EQ(CpuAllocator::size_class(bytes), CpuAllocator::size_class(nbytes)) << nbytes;
  }
  const size_t huge = size_t{1} << 62;
  EXPECT_EQ(CpuAllocator::class_bytes(CpuAllocator::size_class(huge)), huge);
}

TEST(CpuAllocator, ReusesBlocksAndCounts) {
  CpuAllocator allocator;
  void* first = allocator.allocate(1000, kCPU);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 64, 0u);
  std::memset(first, 0xff, 1000);
  allocator.deallocate(first, 1000, kCPU);
  void* second = allocator.allocate(990, kCPU);
  EXPECT_EQ(first, second);
  AllocatorStats stats = allocator.stats(kCPU);
  EXPECT_EQ(stats.num_allocations, 2u);
  EXPECT_EQ(stats.num_system_allocations, 1u);
  EXPECT_EQ(stats.allocated_bytes, stats.reserved_bytes);
  allocator.deallocate(second, 990, kCPU);
  EXPECT_EQ(allocator.stats(kCPU).allocated_bytes, 0u);
  EXPECT_GT(allocator.stats(kCPU).peak_allocated_bytes, 0u);
  allocator.empty_cache(kCPU);
  EXPECT_EQ(allocator.stats(kCPU).reserved_bytes, 0u);
  allocator.reset_peak(kCPU);
  EXPECT_EQ(allocator.stats(kCPU).peak_allocated_bytes, 0u);
}

#if defined(__SANITIZE_ADDRESS__)
TEST(CpuAllocator, AddressSanitizerSeesWhatIsOutOfBounds) {
  CpuAllocator allocator;
  for (int round = 0; round < 2; ++round) {  // of the system, then of the cache
    char* block = static_cast<char*>(allocator.allocate(70, kCPU));
    EXPECT_FALSE(__asan_address_is_poisoned(block));
    EXPECT_FALSE(__asan_address_is_poisoned(block + 69));
    EXPECT_TRUE(__asan_address_is_poisoned(block + 70));
    allocator.deallocate(block, 70, kCPU);
    EXPECT_TRUE(__asan_address_is_poisoned(block + 8));
  }
}
#endif

TEST(CpuAllocator, ZeroAndImpossibleRequests) {
  CpuAllocator allocator;
  EXPECT_EQ(allocator.allocate(0, kCPU), nullptr);
  allocator.deallocate(nullptr, 0, kCPU);
  EXPECT_THROW(allocator.allocate(size_t{1} << 61, kCPU), Error);
  EXPECT_EQ(allocator.stats(kCPU).allocated_bytes, 0u);
}

TEST(CpuAllocator, BlocksPastTheCapGoBackToTheSystem) {
  CpuAllocator allocator;
  const size_t big = CpuAllocator::kMaxCachedBytes / 2;
  void* blocks[3];
  for (void*& block : blocks) block = allocator.allocate(big, kCPU);
  for (void* block : blocks) allocator.deallocate(block, big, kCPU);
  EXPECT_EQ(allocator.stats(kCPU).reserved_bytes, 2 * big);
}

TEST(CpuAllocator, ManyThreads) {
  CpuAllocator allocator;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&allocator, t] {
      for (size_t i = 1; i < 5000; ++i) {
        const size_t nbytes = i % 700 + 1;
        auto* block = static_cast<unsigned char*>(allocator.allocate(nbytes, kCPU));
        block[0] = static_cast<unsigned char>(t);
        block[nbytes - 1] = block[0];
        allocator.deallocate(block, nbytes, kCPU);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(allocator.stats(kCPU).allocated_bytes, 0u);
  EXPECT_EQ(allocator.stats(kCPU).num_allocations, 4u * 4999u);
}

TEST(Scratch, ReturnsItsMemory) {
  const uint64_t before = allocator(DeviceType::CPU).stats(kCPU).allocated_bytes;
  {
    Scratch<float> scratch(100);
    scratch[99] = 1.0f;
    EXPECT_GT(allocator(DeviceType::CPU).stats(kCPU).allocated_bytes, before);
  }
  EXPECT_EQ(allocator(DeviceType::CPU).stats(kCPU).allocated_bytes, before);
  EXPECT_THROW(Scratch<double>(INT64_MAX), Error);
}

}  // namespace
}  // namespace aotiny
