#include "aotiny/core/cpu_features.h"

#include <cstdlib>
#include <string_view>

namespace aotiny {
namespace {

CpuFeatures detect() noexcept {
  CpuFeatures features;
#if defined(__x86_64__)
  __builtin_cpu_init();
  features.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("f16c");
  features.avx512 = features.avx2 && __builtin_cpu_supports("avx512f") &&
                    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                    __builtin_cpu_supports("avx512vl");
  features.avx512_vnni = features.avx512 && __builtin_cpu_supports("avx512vnni");
  features.avx512_bf16 = features.avx512 && __builtin_cpu_supports("avx512bf16");
#endif
  return features;
}

CpuFeatures lowered(CpuFeatures features) noexcept {
  const char* limit = std::getenv("AOTINY_CPU_CAPABILITY");
  if (limit == nullptr) return features;
  const std::string_view capability = limit;
  const bool bf16 = capability == "avx512_bf16";
  const bool vnni = bf16 || capability == "avx512_vnni";
  const bool avx512 = vnni || capability == "avx512";
  const bool avx2 = avx512 || capability == "avx2";
  if (!avx2 && capability != "portable") return features;  // not a capability: no limit
  features.avx512_bf16 = features.avx512_bf16 && bf16;
  features.avx512_vnni = features.avx512_vnni && vnni;
  features.avx512 = features.avx512 && avx512;
  features.avx2 = features.avx2 && avx2;
  return features;
}

}  // namespace

const CpuFeatures& processor_features() noexcept {
  static const CpuFeatures features = detect();
  return features;
}

const CpuFeatures& cpu_features() noexcept {
  static const CpuFeatures features = lowered(processor_features());
  return features;
}

}  // namespace aotiny
