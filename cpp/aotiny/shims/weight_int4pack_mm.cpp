#include "aotiny/shims/weight_int4pack_mm.h"

#include "aotiny/shims/weight_ops.h"

namespace aotiny {
namespace {

// The format of tile-packed codes, which their last dimension tells.
FormatId tile_packed_format(const Tensor& codes) {
  require(codes.ndim() == 4, Status::InvalidArgument, "mat2 is ", codes,
          ", not [N/8, K/(16·t), 32, t/2]");
  switch (codes.size(3)) {
    case 1:
      return kFormatId<Int4TilePackedTraits<2>>;
    case 2:
      return kFormatId<Int4TilePackedTraits<4>>;
    case 4:
      return kFormatId<Int4TilePackedTraits<8>>;
    default:
      fail(Status::InvalidArgument, "mat2 is ", codes,
           ", whose last size is not 1, 2 or 4, as 2, 4 or 8 inner k-tiles have it");
  }
}

}  // namespace

AOTITorchError weight_int4pack_mm(DeviceType type, AtenTensorHandle self, AtenTensorHandle mat2,
                                  int64_t group_size, AtenTensorHandle scales_and_zeros,
                                  AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    const Tensor& x = defined_on(type, self, "self");
    const Tensor& codes = defined_on(type, mat2, "mat2");
    const Tensor& pairs = defined_on(type, scales_and_zeros, "qScaleAndZeros");
    require(x.ndim() == 2, Status::InvalidArgument, "self is ", x, ", not 2-dimensional");
    result = matmul(x, Weight(tile_packed_format(codes), {codes, pairs}, group_size),
                    Activation::Native);
  });
}

}  // namespace aotiny

using namespace aotiny;

AOTITorchError aoti_torch_cpu__weight_int4pack_mm(AtenTensorHandle self, AtenTensorHandle mat2,
                                                  int64_t qGroupSize,
                                                  AtenTensorHandle qScaleAndZeros,
                                                  AtenTensorHandle* ret0) {
  return weight_int4pack_mm(DeviceType::CPU, self, mat2, qGroupSize, qScaleAndZeros, ret0);
}
