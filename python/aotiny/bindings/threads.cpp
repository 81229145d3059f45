// aotiny.set_num_threads and get_num_threads.
#include "aotiny/core/threads.h"

#include "bindings.h"

namespace aotiny::bindings {

void register_threads(py::module_& module) {
  module.def("set_num_threads", &set_num_threads, py::arg("count"),
             "How many OpenMP threads a call may use, 1 to 4096, whichever thread makes it; 0 asks "
             "for the default again.");
  module.def("get_num_threads", &num_threads, "How many threads a call from this thread may use.");
}

}  // namespace aotiny::bindings
