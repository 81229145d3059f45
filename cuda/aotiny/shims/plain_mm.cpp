// The products of cpp/aotiny/shims/plain_mm.h for CUDA's tensors.
#include "aotiny/shims/plain_mm.h"

#include "aotiny/abi/aoti_torch_cuda.h"

using namespace aotiny;

AOTITorchError aoti_torch_cuda_int4_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                             AtenTensorHandle scale, AtenTensorHandle fourth,
                                             intptr_t fifth, intptr_t sixth, intptr_t seventh,
                                             intptr_t eighth) {
  return int4_plain_mm(DeviceType::CUDA, self, qdata, scale, fourth, fifth, sixth, seventh, eighth);
}

AOTITorchError aoti_torch_cuda_exact_int4_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                                   AtenTensorHandle scale, AtenTensorHandle min,
                                                   AtenTensorHandle d, AtenTensorHandle dmin,
                                                   int64_t group_size, AtenTensorHandle* ret0) {
  return exact_int4_plain_mm(DeviceType::CUDA, self, qdata, scale, min, d, dmin, group_size, ret0);
}

AOTITorchError aoti_torch_cuda_exact_int5_plain_mm(AtenTensorHandle self, AtenTensorHandle ql,
                                                   AtenTensorHandle qh, AtenTensorHandle scale,
                                                   AtenTensorHandle min, AtenTensorHandle d,
                                                   AtenTensorHandle dmin, int64_t group_size,
                                                   AtenTensorHandle* ret0) {
  return exact_int5_plain_mm(DeviceType::CUDA, self, ql, qh, scale, min, d, dmin, group_size, ret0);
}

AOTITorchError aoti_torch_cuda_int6_plain_mm(AtenTensorHandle self, AtenTensorHandle ql,
                                             AtenTensorHandle qh, AtenTensorHandle scale,
                                             intptr_t fifth, intptr_t sixth, intptr_t seventh) {
  return int6_plain_mm(DeviceType::CUDA, self, ql, qh, scale, fifth, sixth, seventh);
}

AOTITorchError aoti_torch_cuda_int8_plain_mm(AtenTensorHandle self, AtenTensorHandle qdata,
                                             AtenTensorHandle scale, AtenTensorHandle zero,
                                             int64_t group_size, AtenTensorHandle* ret0) {
  return int8_plain_mm(DeviceType::CUDA, self, qdata, scale, zero, group_size, ret0);
}
