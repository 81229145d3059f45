// torch's packer of 4-bit codes for its tile-packed op.
#include "aotiny/abi/aoti_torch_cuda.h"
#include "aotiny/shims/handle.h"
#include "aotiny/shims/pack_tiles.h"

using namespace aotiny;

AOTITorchError aoti_torch_cuda__convert_weight_to_int4pack(AtenTensorHandle self,
                                                           int64_t innerKTiles,
                                                           AtenTensorHandle* ret0) {
  return guarded([&] {
    NewHandle result(ret0, "ret0");
    result = pack_tiles(defined_on(DeviceType::CUDA, self, "self"), innerKTiles);
  });
}
