#include "aotiny/core/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace aotiny {
namespace {

TEST(ParallelFor, VisitsEveryIndexOnce) {
  for (int64_t count : {0, 1, 2, 3, 7, 100, 1001}) {
    for (int64_t grain : {1, 3, 64, 5000}) {
      std::vector<std::atomic<int>> visits(static_cast<size_t>(count));
      parallel_for(count, grain, [&](int64_t begin, int64_t end) {
        EXPECT_LT(begin, end);
        for (int64_t i = begin; i < end; ++i) ++visits[static_cast<size_t>(i)];
      });
      for (const auto& visit : visits) EXPECT_EQ(visit, 1);
    }
  }
}

TEST(ParallelFor, RethrowsWhatAPieceThrew) {
  EXPECT_THROW(parallel_for(1000, 1,
                            [](int64_t, int64_t end) {
                              if (end == 1000) throw std::runtime_error("the last piece");
                            }),
               std::runtime_error);
}

TEST(ParallelFor, NestedLoopsStayOnTheirThread) {
  std::atomic<int64_t> total{0};
  parallel_for(8, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int outer = omp_get_thread_num();
      parallel_for(100, 1, [&](int64_t b, int64_t e) {
        EXPECT_EQ(omp_get_thread_num(), outer);
        total += e - b;
      });
    }
  });
  EXPECT_EQ(total, 800);
}

}  // namespace
}  // namespace aotiny
