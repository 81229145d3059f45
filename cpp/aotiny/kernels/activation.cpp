#include "aotiny/kernels/activation.h"

#include <ostream>

namespace aotiny {

Activation find_activation(std::string_view name) {
  if (name == "int8") return Activation::Int8;
  if (name == "native") return Activation::Native;
  fail(Status::InvalidArgument, "activation \"", name, "\" is neither \"int8\" nor \"native\"");
}

Activation choose_activation(const ActivationProblem& problem) {
  const bool has_int8 = format_info(problem.format).plain;
  if (problem.asked == Activation::Auto) return has_int8 ? Activation::Int8 : Activation::Native;
  require(problem.asked == Activation::Native || has_int8, Status::InvalidArgument, problem,
          ": the format has no product with int8 activations");
  return problem.asked;
}

std::ostream& operator<<(std::ostream& out, Activation activation) {
  return out << (activation == Activation::Auto   ? "auto"
                 : activation == Activation::Int8 ? "int8"
                                                  : "native");
}

std::ostream& operator<<(std::ostream& out, const ActivationProblem& problem) {
  return out << format_info(problem.format).name << " with " << problem.asked << " activations";
}

}  // namespace aotiny
