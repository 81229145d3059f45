// What the processor can do, and the capability that kernels are chosen by.
#pragma once

namespace aotiny {

struct CpuFeatures {
  bool avx2 = false;         // with fma and f16c
  bool avx512 = false;       // f, bw, dq and vl
  bool avx512_vnni = false;  // with avx512
  bool avx512_bf16 = false;  // with avx512
};

// What the processor has, read once.
const CpuFeatures& processor_features() noexcept;

// What kernels may use: all of it, unless the environment variable AOTINY_CPU_CAPABILITY
// ("portable", "avx2", "avx512", "avx512_vnni", "avx512_bf16") lowers it, for testing a path that
// this processor would not take.
const CpuFeatures& cpu_features() noexcept;

}  // namespace aotiny
