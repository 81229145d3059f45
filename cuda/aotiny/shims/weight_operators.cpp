// aoti_torch_cuda_weight_matmul, weight_bmm, weight_embedding.
#include "aotiny/shims/weight_operators.h"

#include "aotiny/abi/aoti_torch_cuda.h"

using namespace aotiny;

AOTITorchError aoti_torch_cuda_weight_matmul(AtenTensorHandle x, const AtenTensorHandle* planes,
                                             int64_t num_planes, const char* format,
                                             const char* variant, int64_t group_size,
                                             AtenTensorHandle* bias, AtenTensorHandle* ret0) {
  return weight_matmul(DeviceType::CUDA, x, {planes, num_planes, format, variant, group_size}, bias,
                       ret0);
}

AOTITorchError aoti_torch_cuda_weight_bmm(AtenTensorHandle x, const AtenTensorHandle* planes,
                                          int64_t num_planes, const char* format,
                                          const char* variant, int64_t group_size,
                                          AtenTensorHandle* ret0) {
  return weight_bmm(DeviceType::CUDA, x, {planes, num_planes, format, variant, group_size}, ret0);
}

AOTITorchError aoti_torch_cuda_weight_embedding(AtenTensorHandle indices,
                                                const AtenTensorHandle* planes, int64_t num_planes,
                                                const char* format, const char* variant,
                                                int64_t group_size, int32_t dtype,
                                                AtenTensorHandle* ret0) {
  return weight_embedding(DeviceType::CUDA, indices,
                          {planes, num_planes, format, variant, group_size}, dtype, ret0);
}
