#include "dlpack_exchange.h"

#include "aotiny/core/dlpack.h"

namespace aotiny::bindings {
namespace {

constexpr const char* kCapsule = "dlpack_exchange_api";

// Interned once, never released: looking an attribute up by a C string makes a new one each time.
struct Names {
  PyObject* api = PyUnicode_InternFromString("__dlpack_c_exchange_api__");
  PyObject* requires_grad = PyUnicode_InternFromString("requires_grad");
  PyObject* is_conj = PyUnicode_InternFromString("is_conj");
  PyObject* is_neg = PyUnicode_InternFromString("is_neg");
};

const Names& names() {
  static const Names interned;
  return interned;
}

// The functions of the object's own type: a base's need not know what a subclass means.
const dlpack::ExchangeApi* find_api(PyTypeObject* type) {
#if PY_VERSION_HEX >= 0x030c0000
  const auto dict = py::reinterpret_steal<py::object>(PyType_GetDict(type));
#else
  const auto dict = py::reinterpret_borrow<py::object>(type->tp_dict);
#endif
  PyObject* capsule = dict ? PyDict_GetItemWithError(dict.ptr(), names().api) : nullptr;
  if (capsule == nullptr || !PyCapsule_IsValid(capsule, kCapsule)) {
    PyErr_Clear();
    return nullptr;
  }
  const auto* api =
      static_cast<const dlpack::ExchangeApi*>(PyCapsule_GetPointer(capsule, kCapsule));
  return api->version.major == dlpack::kVersion.major ? api : nullptr;
}

// Whether a value of Python's is true; nullopt, and no exception, where there is none.
std::optional<bool> truth(PyObject* value) {
  const auto owned = py::reinterpret_steal<py::object>(value);
  const int truth = owned ? PyObject_IsTrue(owned.ptr()) : -1;
  if (truth < 0) PyErr_Clear();
  return truth < 0 ? std::nullopt : std::optional(truth != 0);
}

}  // namespace

std::optional<PyTensor> import_by_exchange(py::handle object, const char* what) {
  const dlpack::ExchangeApi* api = find_api(Py_TYPE(object.ptr()));
  if (api == nullptr || api->describe == nullptr) return std::nullopt;
  // What torch's function does not look at.
  if (truth(PyObject_GetAttr(object.ptr(), names().requires_grad)) != false) return std::nullopt;
  if (truth(PyObject_CallMethodNoArgs(object.ptr(), names().is_conj)) != false) return std::nullopt;
  if (truth(PyObject_CallMethodNoArgs(object.ptr(), names().is_neg)) != false) {
    throw py::buffer_error(std::string(what) +
                           ": its memory holds the negative of its values: call resolve_neg()");
  }
  dlpack::TensorInfo info{};
  dlpack::ManagedTensorVersioned* managed = nullptr;
  if (api->describe(object.ptr(), &info) != 0 || info.device.device_type != dlpack::kCpuDevice ||
      api->export_tensor(object.ptr(), &managed) != 0) {
    PyErr_Clear();
    return std::nullopt;
  }
  try {
    bool copied = false;
    const bool readonly = (managed->flags & dlpack::kReadOnly) != 0;
    Tensor tensor = dlpack::import_tensor(managed, copied);
    return PyTensor{std::move(tensor), readonly && !copied};
  } catch (...) {
    managed->deleter(managed);
    throw;
  }
}

}  // namespace aotiny::bindings
