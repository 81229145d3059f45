// Which activations a product with a quantized weight takes.
#pragma once

#include <iosfwd>
#include <string_view>

#include "aotiny/quant/formats.h"

namespace aotiny {

enum class Activation : uint8_t {
  Auto,
  Int8,    // quantized in blocks of 32: plain_mm.h
  Native,  // as they are, with weights dequantized: dequantized_mm.h, tile_packed_mm.h
};

// By name, "int8" or "native"; fails with InvalidArgument, naming those that there are.
Activation find_activation(std::string_view name);

struct ActivationProblem {
  FormatId format;
  Activation asked;
};

// Int8 or Native: what was asked for, otherwise Int8 where the format has such products. Fails with
// InvalidArgument, naming the format, where Int8 was asked for and there is none. It does not look
// at the shapes, so a row's result cannot depend on how many rows come with it.
Activation choose_activation(const ActivationProblem& problem);
std::ostream& operator<<(std::ostream& out, Activation activation);
std::ostream& operator<<(std::ostream& out, const ActivationProblem& problem);

}  // namespace aotiny
