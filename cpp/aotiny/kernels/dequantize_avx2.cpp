#include "aotiny/kernels/dequantize_loops.h"

namespace aotiny {
namespace {

struct Isa {};
constexpr DequantizeKernels kKernels = DequantizeLoops<Isa>::table("avx2");

}  // namespace

const DequantizeKernels& dequantize_kernels_avx2() noexcept { return kKernels; }

}  // namespace aotiny
