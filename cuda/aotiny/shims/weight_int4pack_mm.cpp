// torch's op on its tile-packed 4-bit weights.
#include "aotiny/shims/weight_int4pack_mm.h"

#include "aotiny/abi/aoti_torch_cuda.h"

using namespace aotiny;

AOTITorchError aoti_torch_cuda__weight_int4pack_mm(AtenTensorHandle self, AtenTensorHandle mat2,
                                                   int64_t qGroupSize,
                                                   AtenTensorHandle qScaleAndZeros,
                                                   AtenTensorHandle* ret0) {
  return weight_int4pack_mm(DeviceType::CUDA, self, mat2, qGroupSize, qScaleAndZeros, ret0);
}
