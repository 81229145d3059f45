// aotiny.Weight and the types of weights.
#include "weight.h"

#include <cstring>
#include <optional>
#include <sstream>

#include <pybind11/stl.h>

#include "aotiny/quant/weight_kernels.h"
#include "dlpack.h"

namespace aotiny::bindings {
namespace {

// Calls f(type) for the type of this name, with a null pointer to it.
template <class F, class... Types>
void visit_weight_type(std::string_view name, const F& f, WeightTypeList<Types...>) {
  ((name == Types::kName ? f(static_cast<Types*>(nullptr)) : void()), ...);
}

py::dict tensors(const Weight& weight) {
  py::dict result;
  for (size_t i = 0; i < weight.planes().size(); ++i) {
    result[weight.info().planes[i].name] = py::cast(PyTensor{weight.planes()[i], true});
  }
  return result;
}

// The format of this name with planes of these names and, of those, the one with their dtypes and
// dimensions; where no dtypes fit, the first, whose complaint names them.
FormatId format_of_planes(std::string_view name, const py::kwargs& named) {
  std::optional<FormatId> first;
  for (int i = 0; i < Formats::kCount; ++i) {
    const FormatInfo& info = format_info(FormatId{i});
    bool has_names = info.name == name && named.size() == info.planes.size();
    for (const PlaneSpec& spec : info.planes) has_names = has_names && named.contains(spec.name);
    if (!has_names) continue;
    bool fits = true;
    for (const PlaneSpec& spec : info.planes) {
      const Tensor plane = to_tensor(named[spec.name], spec.name);
      fits = fits && plane.dtype() == spec.dtype &&
             (spec.layout != Layout::Tiles || (plane.ndim() > 0 && plane.size(-1) == spec.count));
    }
    if (fits) return FormatId{i};
    first = first.value_or(FormatId{i});
  }
  if (first) return *first;
  std::ostringstream names;
  for (const auto& item : named) names << ' ' << py::cast<std::string>(item.first);
  fail(Status::InvalidArgument, name, " has no variant with the tensors", names.str());
}

Tensor row_major_copy(const Tensor& tensor) {
  const Tensor copy = Tensor::empty(tensor.sizes(), tensor.dtype(), tensor.device());
  copy.copy_(tensor);
  return copy;
}

// Whether a weight's product can read a plane where it lies.
bool can_be_shared(const PlaneSpec& spec, const Tensor& plane) {
  if (plane.ndim() < spec.ndim()) return true;  // Weight says what is wrong
  return has_dense_rows(spec, plane) && is_aligned(plane) &&
         (plane.device() == kCPU || fits_device_loads(spec, plane));
}

template <class Typed>
Typed from_tensors(int64_t group_size, const py::kwargs& named) {
  const FormatId format = format_of_planes(Typed::kName, named);
  std::vector<Tensor> planes;
  bool readonly = false;
  for (const PlaneSpec& spec : format_info(format).planes) {
    const PyTensor plane = import_object(named[spec.name], spec.name, std::nullopt);
    const bool is_shared = can_be_shared(spec, plane.tensor);
    planes.push_back(is_shared ? plane.tensor : row_major_copy(plane.tensor));
    readonly = readonly || (plane.readonly && is_shared);
  }
  Typed weight(Weight(format, std::move(planes), group_size, readonly));
  weight.check_values();
  return weight;
}

// The planes of a weight that does not exist yet: {name: (dtype, shape)}.
py::dict planes_of(const std::string& type, const std::string& variant,
                   const std::vector<int64_t>& shape, int64_t group_size) {
  const FormatInfo& info = format_info(find_format(type, variant));
  require(shape.size() == 2 || shape.size() == 3, Status::InvalidArgument, type,
          ": a weight is [N, K] or [B, N, K], not ", Shape{shape});
  const bool is_stack = shape.size() == 3;
  require(!is_stack || shape[0] >= 1, Status::InvalidArgument, type, ": a weight of shape ",
          Shape{shape}, " has no elements");
  check_shape(info, shape[is_stack], shape[is_stack + 1], group_size);
  py::dict result;
  for (const PlaneSpec& spec : info.planes) {
    std::vector<int64_t> sizes = spec.sizes(shape[is_stack], shape[is_stack + 1], group_size);
    if (is_stack) sizes.insert(sizes.begin(), shape[0]);
    result[spec.name] = py::make_tuple(dtype_name(spec.dtype), py::tuple(py::cast(sizes)));
  }
  return result;
}

py::tuple get_state(const Weight& weight) {
  require(weight.device() == kCPU, Status::NotSupported, weight.info().name,
          ": only weights on the CPU are pickled, this is on ", weight.device(),
          "; .to(\"cpu\") copies it there");
  py::list planes;
  for (const Tensor& plane : weight.planes()) {
    const Tensor dense = plane.contiguous();
    planes.append(py::bytes(static_cast<const char*>(dense.raw_data()),
                            static_cast<size_t>(dense.numel()) * dense.itemsize()));
  }
  const Weight plain = weight.is_transposed() ? weight.transposed() : weight;
  return py::make_tuple(weight.info().name, weight.info().variant, plain.sizes(),
                        weight.group_size(), planes, weight.is_transposed());
}

template <class Typed>
Typed read_state(const py::tuple& state) {
  require(state.size() == 6, Status::InvalidArgument, Typed::kName, ": a pickle of ", state.size(),
          " parts, not 6");
  const auto sizes = py::cast<std::vector<int64_t>>(state[2]);
  require(sizes.size() == 2 || sizes.size() == 3, Status::InvalidArgument, Typed::kName,
          ": a pickle of shape ", Shape{sizes});
  Weight weight =
      Weight::empty(find_format(py::cast<std::string>(state[0]), py::cast<std::string>(state[1])),
                    sizes[sizes.size() - 2], sizes.back(), py::cast<int64_t>(state[3]),
                    sizes.size() == 3 ? std::optional(sizes[0]) : std::nullopt);
  const auto planes = py::cast<py::list>(state[4]);
  require(planes.size() == weight.planes().size(), Status::InvalidArgument, Typed::kName,
          ": a pickle of ", planes.size(), " tensors, not ", weight.planes().size());
  for (size_t i = 0; i < planes.size(); ++i) {
    const auto bytes = py::cast<std::string_view>(planes[i]);
    const Tensor& plane = weight.planes()[i];
    const size_t nbytes = static_cast<size_t>(plane.numel()) * plane.itemsize();
    require(bytes.size() == nbytes, Status::InvalidArgument, Typed::kName, ": ",
            weight.info().planes[i].name, " has ", bytes.size(), " bytes in the pickle, not ",
            nbytes);
    std::memcpy(plane.raw_data(), bytes.data(), nbytes);
  }
  weight.check_values();
  return Typed(py::cast<bool>(state[5]) ? weight.transposed() : std::move(weight));
}

template <class Typed>
Typed set_state(const py::tuple& state) {
  try {
    return read_state<Typed>(state);
  } catch (const py::cast_error&) {
    std::ostringstream types;
    for (const py::handle part : state) types << ' ' << Py_TYPE(part.ptr())->tp_name;
    fail(Status::InvalidType, Typed::kName,
         ": a pickle with parts of the wrong types:", types.str(),
         "; they are type, variant, shape, group size, bytes and orientation");
  }
}

std::string repr(const Weight& weight) {
  std::ostringstream text;
  text << "aotiny." << weight.info().name << "(shape=" << Shape{weight.sizes()}
       << ", group_size=" << weight.group_size();
  if (*weight.info().variant != '\0') text << ", variant='" << weight.info().variant << "'";
  if (weight.is_transposed()) text << ", transposed";
  if (weight.device() != kCPU) text << ", device='" << weight.device() << "'";
  text.precision(4);
  text << ", " << weight.bits_per_weight() << " bits a weight)";
  return text.str();
}

template <class Typed>
void register_type(py::module_& module, const char* doc) {
  py::class_<Typed, Weight>(module, Typed::kName, doc)
      .def_static(
          "from_tensors", &from_tensors<Typed>, py::kw_only(), py::arg("group_size"),
          "A weight of existing tensors, named as tensors() names them, all on one device. It\n"
          "shares them where the elements of a row lie together at addresses that kernels can\n"
          "load from, and copies them where they do not.\n\n"
          "Raises aotiny.Error, with the numbers, for dtypes, shapes and devices that do not fit,\n"
          "and for metadata that is not finite.")
      .def(py::pickle([](const Typed& weight) { return get_state(weight); }, &set_state<Typed>));
}

}  // namespace

// The Python object of a weight's own type.
py::object typed(Weight weight) {
  py::object result;
  visit_weight_type(
      weight.info().name,
      [&](auto* type) {
        using Typed = std::remove_pointer_t<decltype(type)>;
        result = py::cast(Typed(std::move(weight)));
      },
      WeightTypes{});
  return result;
}

const Weight& weight_argument(py::handle object, const char* what) {
  if (!py::isinstance<Weight>(object)) {
    throw py::type_error(std::string(what) + " is a " +
                         py::cast<std::string>(py::type::of(object).attr("__name__")) +
                         ", not a weight" +
                         (py::hasattr(object, "__aotiny_weight__") ? "; its weight() is one" : ""));
  }
  return py::cast<const Weight&>(object);
}

void register_weight(py::module_& module) {
  module.def("planes_of", &planes_of, py::arg("type"), py::arg("variant"), py::arg("shape"),
             py::arg("group_size"),
             "Dtype and shape of each plane that a weight of this type and shape has, by name.\n\n"
             "Raises aotiny.Error for types and variants that there are not, and for shapes and\n"
             "group sizes that do not fit.");
  py::class_<Weight> type(
      module, "Weight", "A quantized weight [N, K], or a stack of them [B, N, K], of some format.");
  type.def_property_readonly(
          "shape", [](const Weight& w) { return py::tuple(py::cast(w.sizes())); },
          "(N, K), or (B, N, K) of a stack; of a transposed weight (K, N) or (B, K, N).")
      .def_property_readonly("group_size", &Weight::group_size)
      .def_property_readonly(
          "variant", [](const Weight& w) { return w.info().variant; },
          "Tells the kinds of a format apart, such as 'A'; '' if it has one kind.")
      .def_property_readonly(
          "device", [](const Weight& w) { return to_string(w.device()); },
          "'cpu' or 'cuda:N', where all packed tensors are.")
      .def_property_readonly("nbytes", &Weight::nbytes, "Of codes and metadata together.")
      .def_property_readonly("bits_per_weight", &Weight::bits_per_weight, "Metadata included.")
      .def_property_readonly("is_contiguous", &Weight::is_contiguous,
                             "Whether every packed tensor is.")
      .def_property_readonly("is_transposed", &Weight::is_transposed,
                             "Whether it is read as (.., K, N) while its tensors hold (.., N, K).")
      .def_property_readonly("readonly", &Weight::is_readonly,
                             "Whether its memory must not be written to, as a mapped file's.")
      .def("tensors", &tensors,
           "The packed tensors by name, read-only, sharing their memory; those of a transposed\n"
           "weight are the ones of the weight as (.., N, K).")
      .def(
          "dequantize",
          [](const Weight& weight) {
            const auto run = [&] {
              py::gil_scoped_release unlocked;
              return weight.dequantize();
            };
            return to_python(run());
          },
          "The values, a float32 Tensor of this shape on this device.")
      .def(
          "to",
          [](const Weight& weight, const std::string& device) {
            const auto run = [&] {
              py::gil_scoped_release unlocked;
              return weight.to(parse_device(device));
            };
            return typed(run());
          },
          py::arg("device"),
          "Itself if it is on that device ('cpu', 'cuda' or 'cuda:N'), otherwise a copy there, of\n"
          "contiguous tensors and never read-only. Raises aotiny.Error where there is no such\n"
          "device or not enough memory on it.")
      .def(
          "__eq__",
          [](const Weight& a, const Weight& b) {
            py::gil_scoped_release unlocked;
            return a == b;
          },
          py::is_operator(), "The same format, shape, group size and bytes, on whatever devices.")
      .def("__repr__", &repr);
  register_views(module, type);
  register_type<CoalescedInt4>(
      module,
      "4-bit codes: qdata uint8 [N, K/2], low nibble = even k; value (q - zero)·scale.\n\n"
      "Metadata 'A': scale, zero bfloat16 [N, K/g]. 'B': scale, zero uint8 [N, K/g], as multiples\n"
      "of steps bfloat16 [N, 2]. 'C': as multiples of scale_step, zero_point_step float16\n"
      "[N, K/256].");
  register_type<ExactInt4>(
      module,
      "4-bit codes with a minimum: qdata uint8 [N, K/2], low nibble = even k; scale, min uint8\n"
      "[N, K/32]; d, dmin float16 [N, K/256]; value q·scale·d - min·dmin. Holds GGUF's Q4_K\n"
      "without loss.");
  register_type<ExactInt5>(
      module,
      "5-bit codes with a minimum: ql uint8 [N, K/2], low nibble = even k; qh uint8 [N, K/8], the\n"
      "fifth bits; scale, min uint8 [N, K/32]; d, dmin float16 [N, K/256]; value\n"
      "q·scale·d - min·dmin. Holds GGUF's Q5_K without loss.");
  register_type<PlanarInt6>(
      module,
      "6-bit codes u = q + 32: ql uint8 [N, K/2], the low four bits, low nibble = even k; qh "
      "uint8\n"
      "[N, K/4], the high two bits; value q·scale.\n\n"
      "Variant 'A': scale bfloat16 [N, K/g]. 'B': scale int8 [N, K/g], as multiples of steps\n"
      "bfloat16 [N, 1]. 'C': as multiples of steps float16 [N, K/256]; holds GGUF's Q6_K without\n"
      "loss.");
  register_type<Int8>(
      module,
      "8-bit codes: qdata int8 [N, K], scale bfloat16 and zero int8 [N, K/g]; value\n"
      "(q - zero)·scale.");
  register_type<Int4Plain>(
      module,
      "Signed 4-bit codes, as torchao's Int4Tensor: qdata int8 [N, K/2], low nibble = even k;\n"
      "scale, zero_point [K/g, N] in bfloat16, float16 or float32; value q·scale + zero_point.\n"
      "A stack has B in front of all.");
  register_type<Int4TilePacked>(
      module,
      "4-bit codes as torch's tinygemm kernel takes them: qdata int32 [N/8, K/(16·t), 32, t/2]\n"
      "with t = 2, 4 or 8 inner k-tiles (the variant); scales_and_zeros bfloat16 [K/g, N, 2];\n"
      "value (q - 8)·scale + zero.");
}

}  // namespace aotiny::bindings
