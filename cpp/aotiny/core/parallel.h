// Loops over the OpenMP threads that model kernels use too, so that there is one pool.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "aotiny/core/threads.h"

namespace aotiny {

inline int max_threads() noexcept { return omp_in_parallel() ? 1 : num_threads(); }

// Calls body(begin, end) on pieces of 0..count, each of at least `grain` (but the last) and at most
// one a thread. Small loops, and loops inside a parallel region, run on the calling thread. The
// first exception that a piece throws is rethrown here.
template <class Body>
void parallel_for(int64_t count, int64_t grain, Body&& body) {
  if (count <= 0) return;
  const int64_t pieces =
      std::min<int64_t>(max_threads(), (count + grain - 1) / std::max<int64_t>(grain, 1));
  if (pieces <= 1) {
    body(int64_t{0}, count);
    return;
  }
  const int64_t length = (count + pieces - 1) / pieces;
  std::exception_ptr failure;
#pragma omp parallel num_threads(static_cast <int>(pieces))
  {
    // OpenMP may give fewer threads than asked for, so each takes every num_threads-th piece.
    for (int64_t piece = omp_get_thread_num(); piece < pieces; piece += omp_get_num_threads()) {
      const int64_t begin = piece * length;
      const int64_t end = std::min(count, begin + length);
      if (begin >= end) continue;
      try {
        body(begin, end);
      } catch (...) {
#pragma omp critical(aotiny_parallel_for)
        if (!failure) failure = std::current_exception();
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace aotiny
