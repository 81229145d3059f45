// What aotiny.cuda is made of: the CUDA library's devices, streams and memory.
#include <pybind11/stl.h>

#include "aotiny/core/device_interface.h"
#include "dlpack.h"

namespace aotiny::bindings {
namespace {

Device cuda_device(const std::string& name) {
  const Device device = parse_device(name);
  require(device.type == DeviceType::CUDA, Status::InvalidArgument, "device \"", name,
          "\" is not a CUDA device");
  return device;
}

DeviceInterface& cuda() { return device_interface(DeviceType::CUDA); }

std::string why_not() {
  try {
    cuda();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

py::dict device_properties(const std::string& name) {
  const DeviceProperties found = cuda().properties(cuda_device(name));
  py::dict result;
  result["name"] = found.name;
  result["compute_capability"] =
      py::make_tuple(found.compute_capability_major, found.compute_capability_minor);
  result["total_bytes"] = found.total_bytes;
  result["free_bytes"] = found.free_bytes;
  result["num_multiprocessors"] = found.num_multiprocessors;
  result["l2_cache_bytes"] = found.l2_cache_bytes;
  result["max_shared_memory_bytes"] = found.max_shared_memory_bytes;
  const auto version = [](int number) { return py::make_tuple(number / 1000, number % 1000 / 10); };
  result["driver_version"] = version(cuda().driver_version());
  result["runtime_version"] = version(cuda().runtime_version());
  return result;
}

}  // namespace

void register_cuda(py::module_& module) {
  module.def("cuda_why_not", &why_not);
  module.def("cuda_device_count", [] { return cuda().device_count(); });
  module.def("cuda_device_properties", &device_properties, py::arg("device"));
  module.def(
      "cuda_synchronize", [](const std::string& name) { cuda().synchronize(cuda_device(name)); },
      py::arg("device"), py::call_guard<py::gil_scoped_release>());
  module.def(
      "cuda_current_stream",
      [](const std::string& name) {
        return reinterpret_cast<uintptr_t>(cuda().current_stream(cuda_device(name)));
      },
      py::arg("device"));
  module.def(
      "cuda_set_current_stream",
      [](const std::string& name, uintptr_t stream) {
        cuda().set_current_stream(cuda_device(name), reinterpret_cast<void*>(stream));
      },
      py::arg("device"), py::arg("stream"));
  module.def(
      "cuda_set_memory_limit",
      [](const std::string& name, uint64_t nbytes) {
        cuda().set_memory_limit(cuda_device(name), nbytes);
      },
      py::arg("device"), py::arg("nbytes"));
  module.def(
      "cuda_reset_peak",
      [](const std::string& name) { cuda().allocator().reset_peak(cuda_device(name)); },
      py::arg("device"));
  module.def(
      "cuda_manual_seed",
      [](const std::string& name, uint64_t seed) { cuda().manual_seed(cuda_device(name), seed); },
      py::arg("device"), py::arg("seed"));
  module.def(
      "cuda_seed", [](const std::string& name) { return cuda().seed(cuda_device(name)); },
      py::arg("device"));
  module.def(
      "cuda_empty_pinned",
      [](const std::vector<int64_t>& shape, const std::string& dtype) {
        return PyTensor{Tensor::empty_pinned(shape, parse_dtype(dtype)), false};
      },
      py::arg("shape"), py::arg("dtype"));
}

}  // namespace aotiny::bindings
