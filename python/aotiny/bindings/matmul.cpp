// aotiny.matmul.
#include "aotiny/shims/plain_mm.h"
#include "dlpack.h"
#include "weight.h"

namespace aotiny::bindings {
namespace {

py::object matmul(const py::object& x, const Weight& weight, const py::object& bias,
                  const py::object& out) {
  const Tensor activations = to_tensor(x, "matmul: x");
  const Tensor bias_tensor = bias.is_none() ? Tensor() : to_tensor(bias, "matmul: bias");
  PyTensor out_tensor;
  if (!out.is_none()) {
    out_tensor = import_object(out, "matmul: out", false);
    require(!out_tensor.readonly, Status::InvalidArgument, "matmul: out is read-only");
  }
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return plain_mm(activations, weight, bias.is_none() ? nullptr : &bias_tensor,
                    out.is_none() ? nullptr : &out_tensor.tensor);
  };
  Tensor result = run();
  return out.is_none() ? to_python(std::move(result)) : out;
}

}  // namespace

void register_matmul(py::module_& module) {
  module.def(
      "matmul", &matmul, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(),
      py::arg("out") = py::none(),
      "x @ W.T + bias with activations quantized to int8 in blocks of 32 along K.\n\n"
      "Args:\n"
      "    x: [..., K], float32, float16 or bfloat16, any strides\n"
      "    w: a weight [N, K]; another type is a TypeError\n"
      "    bias: [N], or None\n"
      "    out: contiguous [..., N] of x's dtype to write to, or None\n\n"
      "Returns [..., N] in x's dtype: `out` if given, otherwise a Tensor. A block of x with\n"
      "a NaN or an infinity makes its row NaN. A row's result does not depend on the other\n"
      "rows. Raises aotiny.Error, with the numbers, for what does not fit.");
}

}  // namespace aotiny::bindings
