// Clones, copies and zeros.
#include "aotiny/shims/handle.h"

using namespace aotiny;

AOTITorchError aoti_torch_clone(AtenTensorHandle self, AtenTensorHandle* ret) {
  return guarded([&] {
    NewHandle handle(ret, "ret");
    handle = defined_in(self, "self").clone();
  });
}

AOTITorchError aoti_torch_clone_preserve_strides(AtenTensorHandle self, AtenTensorHandle* ret) {
  return guarded([&] {
    NewHandle handle(ret, "ret");
    const Tensor& base = defined_in(self, "self");
    // The gaps between the elements are copied too: later views may reach into them.
    const int64_t span[] = {checked_span(base.sizes(), base.strides())};
    const int64_t unit[] = {1};
    handle = base.as_strided(span, unit, base.storage_offset())
                 .clone()
                 .as_strided(base.sizes(), base.strides(), 0);
  });
}

AOTITorchError aoti_torch_copy_(AtenTensorHandle self, AtenTensorHandle src, int32_t non_blocking) {
  return guarded([&] { in(self, "self").copy_(in(src, "src"), non_blocking != 0); });
}

AOTITorchError aoti_torch_tensor_copy_(AtenTensorHandle src, AtenTensorHandle dst) {
  return guarded([&] { in(dst, "dst").copy_(in(src, "src")); });
}

AOTITorchError aoti_torch_zero_(AtenTensorHandle self) {
  return guarded([&] { defined_in(self, "self").zero_(); });
}
