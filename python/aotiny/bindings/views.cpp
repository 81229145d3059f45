// Views of weights, and what makes one weight of others.
#include <optional>

#include <pybind11/stl.h>

#include "aotiny/quant/copies.h"
#include "aotiny/quant/reshape.h"
#include "aotiny/quant/shard.h"
#include "weight.h"

namespace aotiny::bindings {
namespace {

using Sizes = std::vector<int64_t>;

// Runs f() without the interpreter's lock and returns its weight as an object of its type.
template <class F>
py::object unlocked(const F& f) {
  const auto run = [&] {
    py::gil_scoped_release released;
    return f();
  };
  return typed(run());
}

Weight index_one(const Weight& weight, int64_t dim, py::handle key) {
  if (py::isinstance<py::slice>(key)) {
    Py_ssize_t start = 0, stop = 0, step = 0;
    if (PySlice_Unpack(key.ptr(), &start, &stop, &step) != 0) throw py::error_already_set();
    require(step == 1, Status::NotSupported, "a weight is sliced in steps of 1, not ", step);
    return slice(weight, dim, start, stop);
  }
  // What a boolean means elsewhere, a new dimension or a mask, there is not.
  if (!PyIndex_Check(key.ptr()) || py::isinstance<py::bool_>(key)) {
    throw py::type_error("a weight is indexed by integers, slices and ...");
  }
  const int64_t index = PyNumber_AsSsize_t(key.ptr(), PyExc_IndexError);
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (axis_of(weight, dim, "index") == Axis::Batch &&
      (index < -weight.batch() || index >= weight.batch())) {  // what iteration ends on
    throw py::index_error("index " + std::to_string(index) + " is outside a stack of " +
                          std::to_string(weight.batch()));
  }
  return select(weight, dim, index);
}

// Integers for a stack's first dimension, slices and one Ellipsis.
py::object get_item(const Weight& weight, const py::object& key) {
  const py::tuple keys =
      py::isinstance<py::tuple>(key) ? py::cast<py::tuple>(key) : py::make_tuple(key);
  const auto num_dims = static_cast<int64_t>(weight.sizes().size());
  int64_t num_indexed = 0, num_ellipses = 0;
  for (const py::handle item : keys) {
    (py::isinstance<py::ellipsis>(item) ? num_ellipses : num_indexed) += 1;
  }
  require(num_indexed <= num_dims && num_ellipses <= 1, Status::InvalidArgument, num_indexed,
          " indices and ", num_ellipses, " ellipses for a weight of ", num_dims, " dimensions");
  Weight view = weight;
  int64_t remaining = num_indexed;  // of the dimensions from the end, which an integer leaves alone
  int64_t from_end = -num_dims;
  for (const py::handle item : keys) {
    if (py::isinstance<py::ellipsis>(item)) {
      from_end = -remaining;
    } else {
      view = index_one(view, from_end, item);
      ++from_end;
      --remaining;
    }
  }
  return typed(std::move(view));
}

py::object join(const py::sequence& objects, const char* what,
                const std::function<Weight(std::span<const Weight>)>& f) {
  // A weight is a sequence to Python, having __getitem__, but not of weights.
  if (py::isinstance<Weight>(objects)) {
    throw py::type_error(std::string(what) + ": one weight, not a list of weights");
  }
  std::vector<Weight> weights;
  for (const py::handle object : objects) {
    if (!py::isinstance<Weight>(object)) {
      throw py::type_error(std::string(what) + ": " + Py_TYPE(object.ptr())->tp_name +
                           " is not a weight");
    }
    weights.push_back(py::cast<const Weight&>(object));
  }
  return unlocked([&] { return f(weights); });
}

}  // namespace

void register_views(py::module_& module, py::class_<Weight>& type) {
  type.def("__getitem__", &get_item, py::arg("key"),
           "A view: w[n0:n1], w[:, k0:k1], and of a stack w[b], w[b, n0:n1], w[..., k0:k1].\n\n"
           "Cuts lie between rows (of Int4TilePacked: between eights) and, along K, between\n"
           "groups, super-blocks of 256 and tiles; aotiny.Error names the nearest places.")
      .def(
          "slice",
          [](const Weight& w, int64_t dim, std::optional<int64_t> start,
             std::optional<int64_t> end) { return typed(slice(w, dim, start, end)); },
          py::arg("dim"), py::arg("start") = py::none(), py::arg("end") = py::none(),
          "A view of part of one dimension, with Python's rules for bounds.")
      .def(
          "narrow",
          [](const Weight& w, int64_t dim, int64_t start, int64_t length) {
            return typed(narrow(w, dim, start, length));
          },
          py::arg("dim"), py::arg("start"), py::arg("length"),
          "A view of `length` of a dimension; aotiny.Error where that is outside.")
      .def(
          "select",
          [](const Weight& w, int64_t dim, int64_t index) { return typed(select(w, dim, index)); },
          py::arg("dim"), py::arg("index"), "One weight of a stack, as a view; dim is 0.")
      .def(
          "transpose",
          [](const Weight& w, int64_t dim0, int64_t dim1) {
            return typed(transpose(w, dim0, dim1));
          },
          py::arg("dim0") = -2, py::arg("dim1") = -1,
          "The last two dimensions exchanged, as a view of the same tensors: its shape reads\n"
          "(.., K, N). Products other than batched ones want it turned back.")
      .def_property_readonly(
          "mT", [](const Weight& w) { return typed(w.transposed()); }, "transpose(-2, -1).")
      .def(
          "view", [](const Weight& w, const Sizes& shape) { return typed(view(w, shape)); },
          py::arg("shape"),
          "Another shape of the same memory: (B, N, K) as (B·N, K) and back, or, transposed,\n"
          "(B, K, N) as (B·K, N); one size may be -1. aotiny.Error where it takes a copy.")
      .def(
          "reshape",
          [](const Weight& w, const Sizes& shape) {
            return unlocked([&] { return reshape(w, shape); });
          },
          py::arg("shape"), "As view, or as a copy where that is needed.")
      .def(
          "squeeze", [](const Weight& w) { return typed(squeeze(w)); },
          "The weight of a stack of one, as a view.")
      .def(
          "unsqueeze", [](const Weight& w) { return typed(unsqueeze(w)); },
          "A stack of this one, as a view.")
      .def(
          "contiguous", [](const Weight& w) { return unlocked([&] { return contiguous(w); }); },
          "Itself if all its tensors are contiguous, otherwise a clone.")
      .def(
          "clone", [](const Weight& w) { return unlocked([&] { return clone(w); }); },
          "A copy with contiguous tensors of its own, never read-only.")
      .def("__copy__", [](const Weight& w) { return typed(w); })
      .def(
          "__deepcopy__",
          [](const Weight& w, const py::object&) { return unlocked([&] { return clone(w); }); },
          py::arg("memo"))
      .def(
          "copy_",
          [](const Weight& w, const Weight& source) {
            py::gil_scoped_release released;
            copy_into(w, source);
          },
          py::arg("source"),
          "Writes the codes and metadata of a weight of the same type, variant, shape and group\n"
          "size into the memory of this one, which may be a view: so shards are loaded into a\n"
          "fused weight. aotiny.Error where that memory is read-only.")
      .def(
          "shard",
          [](const Weight& w, int64_t rank, int64_t world, int64_t dim, bool pad) {
            return unlocked([&] { return shard(w, rank, world, dim, pad); });
          },
          py::arg("rank"), py::arg("world"), py::arg("dim") = 0, py::arg("pad") = false,
          "Part `rank` of `world` equal ones along a dimension, as a view.\n\n"
          "pad=True lengthens the dimension by zeros until it divides, a shard with zeros being\n"
          "a copy: drop the products of rows of zeros, and give columns of zeros activations\n"
          "of 0. Otherwise aotiny.Error where shards are not equal or would cut a group.");
  module.def(
      "cat",
      [](const py::sequence& weights, int64_t dim) {
        return join(weights, "cat", [dim](auto all) { return cat(all, dim); });
      },
      py::arg("weights"), py::arg("dim") = 0,
      "One weight of several, one after another along a dimension, in memory of its own.\n\n"
      "All have the same type, variant and group size, and the same shape but for `dim`; other-\n"
      "wise aotiny.Error. Variants whose steps serve whole rows ('B') can be joined along K\n"
      "only where the steps are equal, as those of slices of one weight are.");
  module.def(
      "stack",
      [](const py::sequence& weights) {
        return join(weights, "stack", [](auto all) { return stack(all); });
      },
      py::arg("weights"), "A stack (B, N, K) of weights (N, K) of one type, in memory of its own.");
}

}  // namespace aotiny::bindings
