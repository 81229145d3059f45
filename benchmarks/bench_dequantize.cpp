// How fast rows of every format are dequantized, on one thread with each instruction set.
//
// Prints the medians over repetitions, in 10^9 weights a second; --json for records.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

#include "aotiny/kernels/dequantize.h"
#include "aotiny/quant/quantize.h"

namespace {

using namespace aotiny;

constexpr int64_t kN = 64, kK = 1024, kGroupSize = 32;  // a panel that the L2 cache holds
constexpr int kCalls = 20;
constexpr int kRepetitions = 15;

double giga_weights_per_second(const Weight& weight, const CpuFeatures& features) {
  std::vector<float> rows(kN * kK);
  std::vector<double> rates;
  for (int repetition = 0; repetition < kRepetitions; ++repetition) {
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < kCalls; ++i) dequantize_rows(weight, 0, 0, kN, rows.data(), features);
    const std::chrono::duration<double, std::nano> elapsed =
        std::chrono::steady_clock::now() - begin;
    rates.push_back(kCalls * kN * kK / elapsed.count());
  }
  std::nth_element(rates.begin(), rates.begin() + kRepetitions / 2, rates.end());
  return rates[kRepetitions / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const bool json = argc > 1 && std::strcmp(argv[1], "--json") == 0;
  std::vector<CpuFeatures> kinds = {{}};
  if (processor_features().avx2) kinds.push_back({.avx2 = true});
  const Tensor values = Tensor::empty(std::vector<int64_t>{kN, kK}, DType::Float32);
  for (int64_t i = 0; i < kN * kK; ++i) {
    values.data<float>()[i] = static_cast<float>(i * 7919 % 1001 - 500) / 5000;
  }
  for (int i = 0; i < Formats::kCount; ++i) {
    const FormatInfo& info = format_info(FormatId{i});
    const Weight weight = quantize(values, FormatId{i}, kGroupSize);
    for (const CpuFeatures& features : kinds) {
      std::printf(json ? "{\"format\": \"%s\", \"variant\": \"%s\", \"instructions\": \"%s\", "
                         "\"giga_weights_per_second\": %.2f}\n"
                       : "%-15s %-9s %-9s %6.2f\n",
                  info.name, info.variant, dequantize_kernels(features).name,
                  giga_weights_per_second(weight, features));
    }
  }
  return 0;
}
