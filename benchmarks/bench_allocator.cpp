// What a short-lived tensor costs a model: aoti_torch_empty_strided and
// aoti_torch_delete_tensor_object, in a loop, and what of it is the allocator's.
//
// Prints the median over repetitions of the nanoseconds a pair of calls takes; --json for a record.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/allocator.h"

namespace {

constexpr int kPairs = 100000;
constexpr int kRepetitions = 21;

// Median nanoseconds of one call of `pair`.
template <class Pair>
double median_ns(Pair&& pair) {
  for (int i = 0; i < kPairs; ++i) pair();
  std::vector<double> times;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kPairs; ++i) pair();
    const std::chrono::duration<double, std::nano> elapsed =
        std::chrono::steady_clock::now() - begin;
    times.push_back(elapsed.count() / kPairs);
  }
  std::nth_element(times.begin(), times.begin() + kRepetitions / 2, times.end());
  return times[kRepetitions / 2];
}

double tensor_pair_ns() {
  const int64_t sizes[] = {32, 128, 384};
  const int64_t strides[] = {128 * 384, 384, 1};
  return median_ns([&] {
    AtenTensorHandle tensor;
    aoti_torch_empty_strided(3, sizes, strides, aoti_torch_dtype_float32(),
                             aoti_torch_device_type_cpu(), 0, &tensor);
    aoti_torch_delete_tensor_object(tensor);
  });
}

double allocator_pair_ns() {
  aotiny::Allocator& allocator = aotiny::allocator(aotiny::DeviceType::CPU);
  return median_ns([&] {
    void* data = allocator.allocate(4096, aotiny::kCPU);
    allocator.deallocate(data, 4096, aotiny::kCPU);
  });
}

// The slower of two threads that make and delete tensors at the same time.
double two_threads_pair_ns() {
  double other = 0;
  std::thread thread([&] { other = tensor_pair_ns(); });
  const double mine = tensor_pair_ns();
  thread.join();
  return std::max(mine, other);
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  const double tensor = tensor_pair_ns();
  const double allocator = allocator_pair_ns();
  const double two_threads = two_threads_pair_ns();
  std::printf(json ? "{\"empty_strided_delete_ns\": %.1f, \"allocate_deallocate_ns\": %.1f, "
                     "\"empty_strided_delete_two_threads_ns\": %.1f}\n"
                   : "empty_strided + delete_tensor_object  %7.1f ns\n"
                     "allocate + deallocate                 %7.1f ns\n"
                     "empty_strided + delete, two threads   %7.1f ns\n",
              tensor, allocator, two_threads);
  return 0;
}
