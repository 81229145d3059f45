// Weights as compiled models pass them to C functions: a handle for each plane.
#pragma once

#include <type_traits>
#include <utility>
#include <vector>

#include "aotiny/abi/aoti_torch.h"
#include "aotiny/quant/weight.h"

namespace aotiny::testing {

inline AtenTensorHandle borrowed(const Tensor& tensor) {
  return reinterpret_cast<AtenTensorHandle>(const_cast<Tensor*>(&tensor));
}

inline std::vector<AtenTensorHandle> borrowed(const std::vector<Tensor>& tensors) {
  std::vector<AtenTensorHandle> handles;
  for (const Tensor& tensor : tensors) handles.push_back(borrowed(tensor));
  return handles;
}

// The arguments of the weight operators.
struct WeightHandles {
  explicit WeightHandles(const Weight& weight)
      : format(weight.info().name),
        variant(weight.info().variant),
        group_size(weight.group_size()),
        tensors(weight.planes()),
        planes(borrowed(tensors)),
        count(static_cast<int64_t>(planes.size())) {}
  WeightHandles(const WeightHandles&) = delete;

  const char* format;
  const char* variant;
  int64_t group_size;
  std::vector<Tensor> tensors;
  std::vector<AtenTensorHandle> planes;
  int64_t count;
};

template <size_t... i>
AOTITorchError call_with_planes(void* function, AtenTensorHandle self,
                                const AtenTensorHandle* planes, int64_t group_size,
                                AtenTensorHandle* ret0, std::index_sequence<i...>) {
  using Function = AOTITorchError (*)(AtenTensorHandle, std::remove_cvref_t<decltype(planes[i])>...,
                                      int64_t, AtenTensorHandle*);
  return reinterpret_cast<Function>(function)(self, planes[i]..., group_size, ret0);
}

// A plain product whose number of arguments depends on the weight, called as a compiled model calls
// it: with the 3, 4 or 5 planes that there are, and no more.
template <class Function>
AOTITorchError call_with_planes(Function* function, AtenTensorHandle self,
                                const std::vector<AtenTensorHandle>& planes, int64_t group_size,
                                AtenTensorHandle* ret0) {
  const auto call = [&](auto count) {
    return call_with_planes(reinterpret_cast<void*>(function), self, planes.data(), group_size,
                            ret0, count);
  };
  if (planes.size() == 3) return call(std::make_index_sequence<3>());
  if (planes.size() == 4) return call(std::make_index_sequence<4>());
  return call(std::make_index_sequence<5>());
}

}  // namespace aotiny::testing
