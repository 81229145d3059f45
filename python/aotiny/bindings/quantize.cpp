// aotiny.quantize, convert and pack_tiles.
#include "aotiny/quant/quantize.h"

#include <optional>
#include <sstream>

#include <pybind11/stl.h>

#include "aotiny/shims/pack_tiles.h"
#include "bindings.h"
#include "weight.h"

namespace aotiny::bindings {
namespace {

// The names that quantize and convert know formats by, beside those of the types, each with the
// variant that it makes by default.
struct NamedFormat {
  const char* name;
  const char* type;
  const char* variant;
};
constexpr NamedFormat kNamedFormats[] = {
    {"int4", "CoalescedInt4", "B"},
    {"exact_int4", "ExactInt4", ""},
    {"exact_int5", "ExactInt5", ""},
    {"int6", "PlanarInt6", "B"},
    {"int8", "Int8", "A"},
    {"int4_plain", "Int4Plain", "bfloat16"},
    {"int4_tile_packed", "Int4TilePacked", "8"},
};

using Variant = std::optional<std::string>;

FormatId parse_format(const std::string& format, const Variant& variant) {
  std::ostringstream known;
  for (const NamedFormat& named : kNamedFormats) {
    if (format == named.name || format == named.type) {
      return find_format(named.type, variant.value_or(named.variant));
    }
    known << (known.tellp() > 0 ? ", \"" : "\"") << named.name << '"';
  }
  fail(Status::InvalidArgument, "format \"", format, "\" is none of ", known.str());
}

// Calls a Python function from time to time, and lets Ctrl-C through.
Progress progress_of(const py::object& function) {
  return [&function](int64_t done, int64_t total) {
    const py::gil_scoped_acquire locked;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (!function.is_none()) function(done, total);
  };
}

py::object quantize(const py::object& array, const std::string& format,
                    std::optional<int64_t> group_size, const std::string& method,
                    const Variant& variant, const py::object& progress) {
  const FormatId id = parse_format(format, variant);
  const Method how = find_method(method);
  const Tensor values = to_tensor(array, "quantize");
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return aotiny::quantize(values, id, group_size.value_or(format_info(id).default_group), how,
                            progress_of(progress));
  };
  return typed(run());
}

py::object convert(const Weight& weight, const std::string& format, const Variant& variant,
                   const py::object& progress) {
  const FormatId id = parse_format(format, variant);
  const auto run = [&] {
    py::gil_scoped_release unlocked;
    return aotiny::convert(weight, id, progress_of(progress));
  };
  return typed(run());
}

}  // namespace

void register_quantize(py::module_& module) {
  module.def(
      "named_format",
      [](const std::string& format, const Variant& variant) {
        const FormatInfo& info = format_info(parse_format(format, variant));
        return py::make_tuple(info.name, info.variant, info.default_group);
      },
      py::arg("format"), py::arg("variant") = py::none(),
      "Type, variant and default group size of a name: 'int4' is ('CoalescedInt4', 'B', 32).");
  module.def(
      "quantize", &quantize, py::arg("array"), py::arg("format"),
      py::arg("group_size") = py::none(), py::arg("method") = "minmax",
      py::arg("variant") = py::none(), py::arg("progress") = py::none(),
      "Quantizes a weight, on all cores.\n\n"
      "Args:\n"
      "    array: [N, K] or [B, N, K], float32, float16 or bfloat16, any strides, finite\n"
      "    format: 'int4' (CoalescedInt4), 'exact_int4' and 'exact_int5' (ExactInt4 and\n"
      "        ExactInt5; group size 32, K a multiple of 256), 'int6' (PlanarInt6), 'int8' "
      "(Int8),\n"
      "        'int4_plain' (Int4Plain) or 'int4_tile_packed' (Int4TilePacked; group size 32, 64,\n"
      "        128 or 256, N a multiple of 8)\n"
      "    group_size: values along K that share scale and zero; a divisor of K, and a multiple\n"
      "        of 32, or of 16 for 'int6'; by default 16 for 'int6' and 32 for the others\n"
      "    method: 'minmax' (codes span each group's range), 'minmax_symmetric' (they span\n"
      "        ±max|w|) or 'hqq' (half-quadratic: a sparse norm of the error is made small)\n"
      "    variant: for 'int4', 'B' (the default: scales and zeros as uint8 codes with a row's\n"
      "        steps), 'A' (bfloat16, twice the size, for rows whose groups differ by orders\n"
      "        of magnitude), 'H' (as 'A' in float16) or 'C' (codes with steps for every 256\n"
      "        weights; K a multiple of 256); for 'int6', 'B' (the default: scales as int8\n"
      "        codes with a row's step), 'A' (bfloat16) or 'C' (a step for every 256 weights);\n"
      "        for 'int8', 'A' (bfloat16 scales, the default) or 'H' (float16); for 'int4_plain' "
      "the dtype of scales, 'bfloat16' by default; for\n"
      "        'int4_tile_packed' the inner k-tiles, '2', '4' or '8' (the default)\n"
      "    progress: called now and then with (rows done, rows in all)\n\n"
      "Raises aotiny.Error for NaN or infinity (with the first one's place), empty arrays,\n"
      "and shapes and group sizes that do not fit.");
  module.def(
      "convert", &convert, py::arg("weight"), py::arg("format"), py::arg("variant") = py::none(),
      py::arg("progress") = py::none(),
      "The same values in another format or variant with as many codes, in the same groups.\n\n"
      "Metadata is coded anew and every code is the nearest under it: so A is compacted to B\n"
      "and C, and weights made elsewhere get into a format with fast products.\n\n"
      "Args:\n"
      "    weight: of any type\n"
      "    format: as quantize has it ('int4'), or the name of a type ('CoalescedInt4')\n"
      "    variant: one of the format's; by default the one that quantize makes\n"
      "    progress: called now and then with (rows done, rows in all)\n\n"
      "Raises aotiny.Error where the codes or the shape do not fit the format.");
  module.def(
      "pack_tiles",
      [](const py::object& codes, int64_t inner_k_tiles) {
        const Tensor tensor = to_tensor(codes, "pack_tiles: codes");
        const auto run = [&] {
          py::gil_scoped_release unlocked;
          return pack_tiles(tensor, inner_k_tiles);
        };
        return to_python(run());
      },
      py::arg("codes"), py::arg("inner_k_tiles") = 8,
      "4-bit codes in the order of Int4TilePacked, byte for byte what torch's\n"
      "_convert_weight_to_int4pack makes, on the device where the codes are.\n\n"
      "Args:\n"
      "    codes: uint8 [N, K/2], two codes a byte with the even k in the high nibble, as torch's\n"
      "        packer takes them, or int32 [N, K] with codes 0..15; any strides\n"
      "    inner_k_tiles: t, 2, 4 or 8; K is a multiple of 16·t\n\n"
      "Returns a Tensor int32 [⌈N/8⌉, K/(16·t), 32, t/2], the qdata of an Int4TilePacked; rows\n"
      "from N on are zeros. Raises aotiny.Error, with the numbers, for what does not fit; on a\n"
      "device int32 codes are checked there, which is refused while a stream is captured.");
}

}  // namespace aotiny::bindings
