// What an exporter says about a model in extra/aotiny.json: its inputs, outputs and constants,
// and what it was compiled for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "aotiny/core/device.h"
#include "aotiny/core/dtype.h"

namespace aotiny {

// One dimension. Fixed where min == max and the name is empty; dimensions with the same name have
// the same size in all inputs of a call. A size derived from another is offset + multiple_of times
// the one that `of` names, which need not be a size of any input itself.
struct Dim {
  std::string name;
  int64_t min = 0;
  int64_t max = 0;  // INT64_MAX: unbounded
  int64_t multiple_of = 1;
  int64_t offset = 0;
  std::string of;  // empty: the size is not derived
};

struct TensorSpec {
  std::string name;
  DType dtype = DType::Float32;
  DeviceType device = DeviceType::CPU;
  std::vector<Dim> shape;
  // Strides that the compiled code assumes, in elements, where all dimensions are fixed; contiguous
  // if absent.
  std::optional<std::vector<int64_t>> strides;
  // Inclusive bounds of every element of an integer input: an index outside would end the process
  // inside a parallel region of the compiled code.
  std::optional<std::pair<int64_t, int64_t>> range;
};

struct ConstantSpec {
  std::string name;  // in the compiled code
  std::string fqn;   // in the source module
  DType dtype = DType::Float32;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;
  bool is_mutable = false;
  std::optional<DeviceType> device;  // where it is not the model's: the CPU
};

struct Manifest {
  std::vector<std::string> cpu_features;  // that the code needs, named as in /proc/cpuinfo
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
  std::vector<ConstantSpec> constants;
};

// Fails with InvalidProgram, saying which value is wrong; `path` is for the message. Keys that this
// version does not know are ignored.
Manifest parse_manifest(const std::string& text, const std::string& path);

}  // namespace aotiny
