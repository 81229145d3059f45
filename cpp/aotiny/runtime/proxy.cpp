// Operators that a model would have PyTorch's dispatcher run. The loader refuses such models and
// names the operators; a model that calls one all the same fails here.
#include "aotiny/abi/aoti_torch.h"
#include "aotiny/core/status.h"

using namespace aotiny;

AOTITorchError aoti_torch_proxy_executor_call_function(AOTIProxyExecutorHandle, int node, int,
                                                       int64_t*, int, AtenTensorHandle*) {
  return guarded([&] {
    fail(Status::OperatorMissing, "the operator of proxy node ", node,
         " has no C shim and needs PyTorch");
  });
}
