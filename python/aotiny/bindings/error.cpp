// aotiny.Error: the one exception of the native side.
#include <cstring>

#include "bindings.h"

namespace aotiny::bindings {
namespace {

PyObject* error_type = nullptr;  // lives as long as the module's dictionary, which holds it

void set_python_error(const Error& error) {
  const auto type = py::reinterpret_borrow<py::object>(error_type);
  // File and symbol names may hold bytes that are no UTF-8.
  const char* text = error.what();
  const auto message = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text, static_cast<Py_ssize_t>(std::strlen(text)), "replace"));
  if (!message) throw py::error_already_set();
  py::object instance = type(message);
  instance.attr("code") = static_cast<int32_t>(error.status());
  instance.attr("name") = status_name(error.status());
  PyErr_SetObject(error_type, instance.ptr());
}

}  // namespace

void register_error(py::module_& module) {
  error_type = PyErr_NewExceptionWithDoc(
      "aotiny.Error",
      "A failure of the native side.\n\n"
      "The text is a sentence with the numbers in it.\n\n"
      "Attributes:\n"
      "    code: int, the numeric value of the status, as the C functions return it\n"
      "    name: str, its name, such as 'InvalidArgument'",
      PyExc_RuntimeError, nullptr);
  if (error_type == nullptr) throw py::error_already_set();
  module.add_object("Error", py::reinterpret_steal<py::object>(error_type));
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const Error& error) {
      set_python_error(error);
    }
  });
}

}  // namespace aotiny::bindings
