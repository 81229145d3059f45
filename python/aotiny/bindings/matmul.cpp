// aotiny.matmul, bmm, embedding and the operators that take one type of weight.
#include <optional>

#include <pybind11/stl.h>

#include "aotiny/shims/weight_ops.h"
#include "dlpack.h"
#include "weight.h"

namespace aotiny::bindings {
namespace {

py::object matmul(const py::object& x, const py::object& w, const py::object& bias,
                  const py::object& out, const std::optional<std::string>& activation) {
  const Weight& weight = weight_argument(w, "matmul: w");
  const Activation how = activation ? find_activation(*activation) : Activation::Auto;
  const Tensor activations = to_tensor(x, "matmul: x");
  const Tensor bias_tensor = bias.is_none() ? Tensor() : to_tensor(bias, "matmul: bias");
  PyTensor out_tensor;
  if (!out.is_none()) {
    out_tensor = import_object(out, "matmul: out", false);
    require(!out_tensor.readonly, Status::InvalidArgument, "matmul: out is read-only");
  }
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return aotiny::matmul(activations, weight, how, bias.is_none() ? nullptr : &bias_tensor,
                          out.is_none() ? nullptr : &out_tensor.tensor);
  };
  Tensor result = run();
  return out.is_none() ? to_python(std::move(result)) : out;
}

py::object bmm(const py::object& x, const py::object& w,
               const std::optional<std::string>& activation) {
  const Weight& weight = weight_argument(w, "bmm: w");
  const Activation how = activation ? find_activation(*activation) : Activation::Auto;
  const Tensor activations = to_tensor(x, "bmm: x");
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return aotiny::bmm(activations, weight, how);
  };
  return to_python(run());
}

py::object embedding(const py::object& indices, const py::object& w, const std::string& dtype) {
  const Weight& weight = weight_argument(w, "embedding: w");
  const std::optional<DType> as = dtype_from_name(dtype);
  require(as.has_value(), Status::InvalidType, "embedding: \"", dtype, "\" is no dtype");
  const Tensor rows = to_tensor(indices, "embedding: indices");
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return aotiny::embedding(rows, weight, *as);
  };
  return to_python(run());
}

// An operator that takes weights of one type: with another, a TypeError names both types.
template <class Typed>
void register_typed(py::module_& module, const char* name, Activation activation, const char* doc) {
  module.def(
      name,
      [name = std::string(name), activation](const py::object& x, const py::object& w,
                                             const py::object& bias) {
        if (!py::isinstance<Typed>(w)) {
          throw py::type_error(name + ": w is a " +
                               py::cast<std::string>(py::type::of(w).attr("__name__")) +
                               ", not a " + Typed::kName);
        }
        const Tensor activations = to_tensor(x, (name + ": x").c_str());
        const Tensor bias_tensor =
            bias.is_none() ? Tensor() : to_tensor(bias, (name + ": bias").c_str());
        const Weight& weight = py::cast<const Typed&>(w);
        const auto run = [&] {
          py::gil_scoped_release unlocked;
          return aotiny::matmul(activations, weight, activation,
                                bias.is_none() ? nullptr : &bias_tensor);
        };
        return to_python(run());
      },
      py::arg("x"), py::arg("w"), py::arg("bias") = py::none(), doc);
}

}  // namespace

void register_matmul(py::module_& module) {
  module.def(
      "matmul", &matmul, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(),
      py::arg("out") = py::none(), py::arg("activation") = py::none(),
      "x @ W.T + bias.\n\n"
      "Args:\n"
      "    x: [..., K], float32, float16 or bfloat16, any strides\n"
      "    w: a weight [N, K] of any type; anything else is a TypeError\n"
      "    bias: [N], or None\n"
      "    out: contiguous [..., N] of x's dtype to write to, or None\n"
      "    activation: 'int8' quantizes x to int8 in blocks of 32 along K; 'native' takes it as\n"
      "        it is and dequantizes the weight to float32, on a device to x's dtype; None is\n"
      "        'int8' for the types that have it and 'native' for Int4Plain and Int4TilePacked\n\n"
      "Returns [..., N] in x's dtype: `out` if given, otherwise a Tensor. With 'int8' a block of\n"
      "x with a NaN or an infinity makes its row NaN. A row's result does not depend on the\n"
      "other rows. Raises aotiny.Error, with the numbers, for what does not fit.");
  module.def(
      "bmm", &bmm, py::arg("x"), py::arg("w"), py::arg("activation") = py::none(),
      "x[b] @ W[b].T for every b.\n\n"
      "Args:\n"
      "    x: [B, M, K], float32, float16 or bfloat16, any strides\n"
      "    w: a stack of weights [B, N, K] of any type; anything else is a TypeError\n"
      "    activation: as for matmul\n\n"
      "Returns a Tensor [B, M, N] in x's dtype. Raises aotiny.Error, with the numbers, for what\n"
      "does not fit.");
  module.def(
      "embedding", &embedding, py::arg("indices"), py::arg("w"), py::arg("dtype") = "float32",
      "W[indices], of which only the rows asked for are dequantized.\n\n"
      "Args:\n"
      "    indices: [...], int64 or int32, any strides\n"
      "    w: a weight [N, K] of any type; anything else is a TypeError\n"
      "    dtype: of the result, 'float32', 'float16' or 'bfloat16'\n\n"
      "Returns a Tensor [..., K]. Raises aotiny.Error for an index outside 0..N-1, with its\n"
      "place.");
  register_typed<CoalescedInt4>(
      module, "int4_plain_mm", Activation::Int8,
      "matmul of a CoalescedInt4 with activations quantized to int8; another type of weight is a\n"
      "TypeError. x [..., K], bias [N] or None; returns a Tensor [..., N] in x's dtype.");
  register_typed<ExactInt4>(
      module, "exact_int4_plain_mm", Activation::Int8,
      "matmul of an ExactInt4 with activations quantized to int8; another type of weight is a\n"
      "TypeError. x [..., K], bias [N] or None; returns a Tensor [..., N] in x's dtype.");
  register_typed<ExactInt5>(
      module, "exact_int5_plain_mm", Activation::Int8,
      "matmul of an ExactInt5 with activations quantized to int8; another type of weight is a\n"
      "TypeError. x [..., K], bias [N] or None; returns a Tensor [..., N] in x's dtype.");
  register_typed<PlanarInt6>(
      module, "int6_plain_mm", Activation::Int8,
      "matmul of a PlanarInt6 with activations quantized to int8; another type of weight is a\n"
      "TypeError. x [..., K], bias [N] or None; returns a Tensor [..., N] in x's dtype.");
  register_typed<Int8>(
      module, "int8_plain_mm", Activation::Int8,
      "matmul of an Int8 with activations quantized to int8; another type of weight is a\n"
      "TypeError. x [..., K], bias [N] or None; returns a Tensor [..., N] in x's dtype.");
  register_typed<Int4TilePacked>(
      module, "weight_int4pack_mm", Activation::Native,
      "matmul of an Int4TilePacked with activations as they are, the weight dequantized to\n"
      "float32, on a device to x's dtype; another type of weight is a TypeError. x [..., K],\n"
      "bias [N] or None; returns a Tensor [..., N] in x's dtype.");
}

}  // namespace aotiny::bindings
