#include "aotiny/kernels/sort.h"

#include <algorithm>
#include <type_traits>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

constexpr int64_t kGrain = 16384;  // elements worth a thread

template <class T>
struct Ranked {
  T value;
  int64_t index;
};

// Whether a comes strictly before b in the order.
template <bool kDescending, class T>
bool before(T a, T b) {
  if constexpr (kIsFloat16<T>) {
    return before<kDescending>(static_cast<float>(a), static_cast<float>(b));
  } else if constexpr (std::is_floating_point_v<T>) {
    if constexpr (kDescending) return a > b || (a != a && b == b);
    return a < b || (b != b && a == a);
  } else {
    return kDescending ? a > b : a < b;
  }
}

// A total order: equal values by index, which makes every algorithm below stable.
template <bool kDescending>
constexpr auto kBefore = [](const auto& a, const auto& b) {
  if (before<kDescending>(a.value, b.value)) return true;
  return !before<kDescending>(b.value, a.value) && a.index < b.index;
};

template <bool kDescending, class T>
void topk_row(const T* in, Ranked<T>* kept, int64_t length, int64_t k) {
  if (k == 0) return;
  constexpr auto order = kBefore<kDescending>;
  if (k >= length / 8) {  // most elements would go through the heap
    for (int64_t i = 0; i < length; ++i) kept[i] = {in[i], i};
    if (k < length) std::nth_element(kept, kept + k - 1, kept + length, order);
    std::sort(kept, kept + k, order);
    return;
  }
  // A heap with the worst of the kept elements on top. Later elements have higher indices, so they
  // must be strictly better.
  for (int64_t i = 0; i < k; ++i) kept[i] = {in[i], i};
  std::make_heap(kept, kept + k, order);
  for (int64_t i = k; i < length; ++i) {
    if (!before<kDescending>(in[i], kept[0].value)) continue;
    std::pop_heap(kept, kept + k, order);
    kept[k - 1] = {in[i], i};
    std::push_heap(kept, kept + k, order);
  }
  std::sort_heap(kept, kept + k, order);
}

template <bool kDescending, class T>
void topk_rows(const T* in, T* values, int64_t* indices, int64_t rows, int64_t length, int64_t k) {
  parallel_for(rows, std::max<int64_t>(1, kGrain / std::max<int64_t>(length, 1)),
               [&](int64_t begin, int64_t end) {
                 Scratch<Ranked<T>> kept(length);
                 for (int64_t row = begin; row < end; ++row) {
                   topk_row<kDescending>(in + row * length, kept.data(), length, k);
                   for (int64_t i = 0; i < k; ++i) {
                     values[row * k + i] = kept[i].value;
                     indices[row * k + i] = kept[i].index;
                   }
                 }
               });
}

}  // namespace

void topk_rows(DType dtype, const void* in, void* values, int64_t* indices, int64_t rows,
               int64_t length, int64_t k, bool largest) {
  visit_dtype(dtype, "topk", [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto run = largest ? topk_rows<true, T> : topk_rows<false, T>;
    run(static_cast<const T*>(in), static_cast<T*>(values), indices, rows, length, k);
  });
}

// Sorting is the selection of all elements.
void sort_rows(DType dtype, const void* in, void* values, int64_t* indices, int64_t rows,
               int64_t length, bool descending) {
  topk_rows(dtype, in, values, indices, rows, length, length, descending);
}

}  // namespace aotiny
