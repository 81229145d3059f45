// The Python object of a weight.
#pragma once

#include "aotiny/quant/weight.h"
#include "bindings.h"

namespace aotiny::bindings {

// An object of the weight's own type (aotiny.CoalescedInt4, ...), sharing its planes.
py::object typed(Weight weight);

// The methods of Weight in views.cpp, and cat and stack.
void register_views(py::module_& module, py::class_<Weight>& type);

// The weight that an argument is; fails with a TypeError that names `what` and the argument's type.
const Weight& weight_argument(py::handle object, const char* what);

}  // namespace aotiny::bindings
