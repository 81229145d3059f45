#include "aotiny/kernels/cuda_native_decode.h"

#include "aotiny/core/check.h"

namespace aotiny::cuda {
namespace {

int attribute(cudaDeviceAttr attribute, int device) {
  int value = 0;
  AOTINY_CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

// Of tiles the kernel loads a pair of scale and zero at once, and takes strides of 32 bits.
bool fits_kernel(const DeviceWeight& weight) {
  if (format_info(weight.format).planes[0].layout != Layout::Tiles) return true;
  const auto is_small = [](int64_t value) { return value >= 0 && value <= INT32_MAX; };
  return reinterpret_cast<uintptr_t>(weight.plane[1]) % 4 == 0 && weight.row[1] % 4 == 0 &&
         weight.step[1] % 4 == 0 && weight.stack[1] % 4 == 0 && is_small(weight.n) &&
         is_small(weight.row[0]) && is_small(weight.step[0]) && is_small(weight.row[1]) &&
         is_small(weight.step[1]);
}

}  // namespace

NativeDecodeDevice native_decode_device() {
  int device = 0;
  AOTINY_CUDA_CHECK(cudaGetDevice(&device));
  return {.processors = attribute(cudaDevAttrMultiProcessorCount, device),
          .shared = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
          .has_clusters = attribute(cudaDevAttrClusterLaunch, device) != 0};
}

bool native_decode(const WeightProduct& product, cudaStream_t stream) {
  if (product.dtype == DType::Float32 || product.m > kDecodeRows) return false;
  const DeviceWeight& weight = product.weight;
  if (!fits_kernel(weight)) return false;
  const NativeDecodePlan plan = plan_native_decode({.format = weight.format,
                                                    .batch = weight.batch,
                                                    .m = product.m,
                                                    .n = weight.n,
                                                    .k = weight.k},
                                                   native_decode_device());
  if (plan.rows == 0) return false;
  native_decode(product, plan, stream);
  return true;
}

void native_decode(const WeightProduct& product, const NativeDecodePlan& plan,
                   cudaStream_t stream) {
  visit_format(product.weight.format,
               [&](auto traits) { native_decode_of<decltype(traits)>(product, plan, stream); });
}

}  // namespace aotiny::cuda
