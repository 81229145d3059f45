#include "dlpack.h"

#include <algorithm>
#include <cstring>

#include "aotiny/core/device_interface.h"
#include "aotiny/core/dlpack.h"
#include "dlpack_exchange.h"

namespace aotiny::bindings {
namespace {

// The standard's numbers for streams of a CUDA device; any other number is a cudaStream_t, and 0 is
// not used, because it could mean either of these.
constexpr int64_t kNoSynchronisation = -1, kDefaultStream = 1, kPerThreadStream = 2;

using dlpack::ManagedTensor;
using dlpack::ManagedTensorVersioned;

template <class Managed>
constexpr const char* kCapsuleName = "dltensor";
template <>
constexpr const char* kCapsuleName<ManagedTensorVersioned> = "dltensor_versioned";
template <class Managed>
constexpr const char* kUsedCapsuleName = "used_dltensor";
template <>
constexpr const char* kUsedCapsuleName<ManagedTensorVersioned> = "used_dltensor_versioned";

template <class Managed>
py::object make_capsule(const Tensor& tensor, uint64_t flags) {
  Managed* managed = dlpack::export_tensor<Managed>(tensor, flags);
  // A consumer renames the capsule and takes over the deleter; an unconsumed one cleans up here.
  PyObject* capsule = PyCapsule_New(managed, kCapsuleName<Managed>, [](PyObject* self) {
    if (!PyCapsule_IsValid(self, kCapsuleName<Managed>)) return;
    auto* owned = static_cast<Managed*>(PyCapsule_GetPointer(self, kCapsuleName<Managed>));
    owned->deleter(owned);
  });
  if (capsule == nullptr) {
    managed->deleter(managed);
    throw py::error_already_set();
  }
  return py::reinterpret_steal<py::object>(capsule);
}

template <class Managed>
PyTensor consume_capsule(PyObject* capsule, bool& copied) {
  auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, kCapsuleName<Managed>));
  if (managed == nullptr) throw py::error_already_set();
  PyTensor result;
  if constexpr (std::is_same_v<Managed, ManagedTensorVersioned>) {
    result.readonly = (managed->flags & dlpack::kReadOnly) != 0;
  }
  result.tensor = dlpack::import_tensor(managed, copied);
  result.readonly = result.readonly && !copied;
  PyCapsule_SetName(capsule, kUsedCapsuleName<Managed>);
  return result;
}

PyTensor from_capsule(const py::object& capsule, const char* what, bool& copied) {
  if (PyCapsule_IsValid(capsule.ptr(), kCapsuleName<ManagedTensorVersioned>)) {
    return consume_capsule<ManagedTensorVersioned>(capsule.ptr(), copied);
  }
  if (PyCapsule_IsValid(capsule.ptr(), kCapsuleName<ManagedTensor>)) {
    return consume_capsule<ManagedTensor>(capsule.ptr(), copied);
  }
  throw py::type_error(std::string(what) +
                       ": __dlpack__ returned something that is not an unused DLPack capsule");
}

// Interned once, never released: a call by C strings makes new ones each time.
struct Names {
  PyObject* dlpack = PyUnicode_InternFromString("__dlpack__");
  PyObject* device = PyUnicode_InternFromString("__dlpack_device__");
  PyObject* version =
      py::make_tuple(dlpack::kVersion.major, dlpack::kVersion.minor).release().ptr();
  PyObject* with_version = py::make_tuple("max_version").release().ptr();
  PyObject* with_both = py::make_tuple("max_version", "stream").release().ptr();
  PyObject* with_stream = py::make_tuple("stream").release().ptr();
};

const Names& names() {
  static const Names interned;
  return interned;
}

// Calls a method of `arguments[0]` with the others, named by `keywords`. May be null, with a Python
// exception set.
template <size_t kCount>
py::object call_method(PyObject* name, PyObject* const (&arguments)[kCount], PyObject* keywords) {
  return py::reinterpret_steal<py::object>(PyObject_VectorcallMethod(name, arguments, 1, keywords));
}

// The CUDA device of a producer that says it is on one.
std::optional<Device> cuda_device_of(py::handle object) {
  const py::object where = call_method(names().device, {object.ptr()}, nullptr);
  if (!where) {
    py::error_already_set error;
    if (py::hasattr(object, names().device)) throw error;
    return std::nullopt;
  }
  const auto [type, index] = py::cast<std::pair<int32_t, int32_t>>(where);
  if (type != dlpack::kCudaDevice) return std::nullopt;
  return device_from_codes(static_cast<int32_t>(DeviceType::CUDA), index);
}

// The stream that a producer of CUDA memory shall make wait, in the standard's numbers.
int64_t consumer_stream(Device device) {
  void* stream = device_interface(device.type).current_stream(device);
  return stream == nullptr ? kDefaultStream : reinterpret_cast<int64_t>(stream);
}

// Calls obj.__dlpack__, first as DLPack 1.x consumers do, then as older producers understand.
py::object request_capsule(py::handle object) {
  const Names& n = names();
  const std::optional<Device> device = cuda_device_of(object);
  const py::object stream = device ? py::object(py::int_(consumer_stream(*device))) : py::none();
  // Torch refuses to export from any other than its current device.
  const DeviceScope current(device.value_or(kCPU));
  PyObject* self = object.ptr();
  py::object capsule = device ? call_method(n.dlpack, {self, n.version, stream.ptr()}, n.with_both)
                              : call_method(n.dlpack, {self, n.version}, n.with_version);
  if (!capsule && PyErr_ExceptionMatches(PyExc_TypeError) != 0) {
    PyErr_Clear();
    capsule = device ? call_method(n.dlpack, {self, stream.ptr()}, n.with_stream)
                     : call_method(n.dlpack, {self}, nullptr);
  }
  if (!capsule) throw py::error_already_set();
  return capsule;
}

// --- the buffer protocol ----------------------------------------------------------------------

// The dtype of a struct format in native byte order; nullopt if there is none.
std::optional<DType> dtype_from_format(const char* format, Py_ssize_t itemsize) {
  if (format == nullptr) return DType::UInt8;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  if (std::strcmp(format, "?") == 0) return DType::Bool;
  if (std::strcmp(format, "Zf") == 0) return DType::ComplexFloat32;
  if (std::strcmp(format, "Zd") == 0) return DType::ComplexFloat64;
  if (std::strlen(format) != 1) return std::nullopt;
  const auto by_size = [itemsize](DType one, DType two, DType four, DType eight) {
    switch (itemsize) {
      case 1:
        return one;
      case 2:
        return two;
      case 4:
        return four;
      default:
        return eight;
    }
  };
  if (std::strchr("bhilqn", *format) != nullptr) {
    return by_size(DType::Int8, DType::Int16, DType::Int32, DType::Int64);
  }
  if (std::strchr("cBHILQN", *format) != nullptr) {
    return by_size(DType::UInt8, DType::UInt16, DType::UInt32, DType::UInt64);
  }
  if (*format == 'e') return DType::Float16;
  if (*format == 'f') return DType::Float32;
  if (*format == 'd') return DType::Float64;
  return std::nullopt;
}

// The struct format of a dtype; nullptr for those that have none.
const char* format_of(DType dtype) {
  switch (dtype) {
    case DType::UInt8:
      return "B";
    case DType::Int8:
      return "b";
    case DType::Int16:
      return "h";
    case DType::Int32:
      return "i";
    case DType::Int64:
      return "q";
    case DType::Float16:
      return "e";
    case DType::Float32:
      return "f";
    case DType::Float64:
      return "d";
    case DType::ComplexFloat32:
      return "Zf";
    case DType::ComplexFloat64:
      return "Zd";
    case DType::Bool:
      return "?";
    case DType::UInt16:
      return "H";
    case DType::UInt32:
      return "I";
    case DType::UInt64:
      return "Q";
    default:
      return nullptr;
  }
}

PyTensor from_buffer(py::handle object, const char* what) {
  auto view = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(object.ptr(), view.get(), PyBUF_RECORDS_RO) != 0) {
    throw py::error_already_set();
  }
  const auto release = [](void* context, void*, size_t, Device) noexcept {
    auto* owned = static_cast<Py_buffer*>(context);
    if (Py_IsInitialized()) {  // after the interpreter's end there is nothing to give it back to
      const py::gil_scoped_acquire gil;
      PyBuffer_Release(owned);
    }
    delete owned;
  };
  try {
    const auto dtype = dtype_from_format(view->format, view->itemsize);
    require(dtype.has_value(), Status::InvalidType, what, ": buffer format \"", view->format,
            "\" is not supported");
    std::vector<int64_t> sizes(view->shape, view->shape + view->ndim), strides;
    for (int d = 0; d < view->ndim; ++d) {
      require(view->strides[d] >= 0 && view->strides[d] % view->itemsize == 0,
              Status::InvalidArgument, what, ": buffer stride of ", view->strides[d],
              " bytes is not a multiple of the item size ", view->itemsize);
      strides.push_back(view->strides[d] / view->itemsize);
    }
    Tensor tensor =
        Tensor::from_blob(view->buf, sizes, strides, 0, *dtype, kCPU, Deleter{release, view.get()});
    return {std::move(tensor), view.release()->readonly != 0};
  } catch (...) {
    if (view) PyBuffer_Release(view.get());
    throw;
  }
}

// numpy arrays that DLPack cannot express (fields of records, byte-swapped data, or read-only
// memory with an old numpy) are offered again as a dense copy.
PyTensor from_numpy_copy(py::handle array) {
  const auto numpy = py::module_::import("numpy");
  const py::object dtype = array.attr("dtype").attr("newbyteorder")("=");
  const py::object copy = numpy.attr("array")(array, dtype, py::arg("order") = "C");
  bool copied;
  return from_capsule(request_capsule(copy), "numpy array", copied);
}

}  // namespace

namespace {

[[noreturn]] void refuse(const std::string& text) { throw py::buffer_error(text); }

// Does what the `stream` argument of __dlpack__ asks of the tensor's producer.
void make_stream_wait(const py::object& stream, Device device) {
  if (device == kCPU) {
    if (!stream.is_none() && py::cast<int64_t>(stream) != kNoSynchronisation) {
      refuse("stream must be None for a CPU tensor, not " + py::str(stream).cast<std::string>());
    }
    return;
  }
  const int64_t wanted = stream.is_none() ? kDefaultStream : py::cast<int64_t>(stream);
  if (wanted == kNoSynchronisation) return;
  if (wanted == 0 || wanted < kNoSynchronisation) {
    refuse(
        "stream must be None, -1, 1 (the default stream), 2 (the thread's) or a cudaStream_t, "
        "not " +
        std::to_string(wanted));
  }
  DeviceInterface& cuda = device_interface(device.type);
  // 1 and 2 are cudaStreamLegacy and cudaStreamPerThread, which CUDA takes as they are.
  cuda.wait_for_stream(device, reinterpret_cast<void*>(wanted), cuda.current_stream(device));
}

// The tensor where `dl_device` wants it; itself if it is there.
Tensor at_device(const Tensor& tensor, const py::object& dl_device, bool may_copy) {
  if (dl_device.is_none()) return tensor;
  const auto wanted = py::cast<std::pair<int32_t, int32_t>>(dl_device);
  const dlpack::DeviceInfo have = dlpack::device_info(tensor.device());
  if (wanted == std::pair(have.device_type, have.device_id)) return tensor;
  if (wanted.first == dlpack::kCpuDevice && may_copy) return tensor.to(kCPU);
  refuse("cannot export a tensor on " + to_string(tensor.device()) + " to DLPack device (" +
         std::to_string(wanted.first) + ", " + std::to_string(wanted.second) + ")" +
         (may_copy ? "" : " without a copy"));
}

}  // namespace

py::object export_capsule(const PyTensor& self, const py::object& stream,
                          const py::object& max_version, const py::object& dl_device,
                          const py::object& copy) {
  if (!self.tensor.defined()) refuse("an undefined tensor cannot be exported");
  const bool may_copy = copy.is_none() || py::cast<bool>(copy);
  const bool must_copy = !copy.is_none() && may_copy;
  Tensor tensor = at_device(self.tensor, dl_device, may_copy);
  const bool moved = tensor.device() != self.tensor.device();
  if (must_copy && !moved) tensor = tensor.clone();
  const bool copies = must_copy || moved;
  // What was moved to the CPU is there already, and its consumer has no stream.
  if (!moved) make_stream_wait(stream, tensor.device());
  const bool readonly = self.readonly && !copies;
  const bool versioned =
      !max_version.is_none() &&
      py::cast<std::pair<uint32_t, uint32_t>>(max_version).first >= dlpack::kVersion.major;
  if (versioned) {
    return make_capsule<ManagedTensorVersioned>(
        tensor, (readonly ? dlpack::kReadOnly : 0) | (copies ? dlpack::kIsCopied : 0));
  }
  if (readonly) refuse("a read-only tensor needs a consumer of DLPack 1.0 or later (max_version)");
  return make_capsule<ManagedTensor>(tensor, 0);
}

py::tuple dlpack_device(const PyTensor& self) {
  const dlpack::DeviceInfo info = dlpack::device_info(self.tensor.device());
  return py::make_tuple(info.device_type, info.device_id);
}

PyTensor import_object(py::handle object, const char* what, std::optional<bool> copy) {
  PyTensor result;
  if (py::isinstance<PyTensor>(object)) {
    result = py::cast<const PyTensor&>(object);
  } else if (auto found = import_by_exchange(object, what)) {
    result = std::move(*found);
  } else if (py::hasattr(object, names().dlpack)) {
    bool copied = false;
    try {
      result = from_capsule(request_capsule(object), what, copied);
    } catch (py::error_already_set& error) {
      const bool is_numpy = py::hasattr(object, "__array_interface__");
      if (!is_numpy || copy == false || !error.matches(PyExc_BufferError)) throw;
      return from_numpy_copy(object);
    }
    if (copied && copy == false) {
      throw py::buffer_error(std::string(what) + ": negative strides need a copy");
    }
  } else if (PyObject_CheckBuffer(object.ptr())) {
    result = from_buffer(object, what);
  } else {
    throw py::type_error(std::string(what) + ": " + Py_TYPE(object.ptr())->tp_name +
                         " offers neither __dlpack__ nor a buffer");
  }
  if (copy == true) return {result.tensor.clone(), false};
  return result;
}

py::buffer_info buffer_info(const PyTensor& self) {
  const Tensor& tensor = self.tensor;
  const char* format = format_of(tensor.dtype());
  if (format == nullptr || tensor.device() != kCPU || !tensor.defined()) {
    throw py::buffer_error("a tensor of " + std::string(dtype_name(tensor.dtype())) + " on " +
                           to_string(tensor.device()) + " has no buffer" +
                           (tensor.device() != kCPU ? ": copy it with .to(\"cpu\")" : ""));
  }
  const auto width = static_cast<py::ssize_t>(tensor.itemsize());
  std::vector<py::ssize_t> shape(tensor.sizes().begin(), tensor.sizes().end()), strides;
  for (int64_t stride : tensor.strides()) strides.push_back(stride * width);
  return py::buffer_info(tensor.raw_data(), width, format, tensor.ndim(), shape, strides,
                         self.readonly);
}

}  // namespace aotiny::bindings
