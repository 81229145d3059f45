// What the instances of a model have in common: the package, its code, its read-only weights.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "aotiny/core/device.h"
#include "aotiny/runtime/container.h"
#include "aotiny/runtime/device_weights.h"
#include "aotiny/runtime/library.h"
#include "aotiny/runtime/manifest.h"
#include "aotiny/runtime/package.h"

namespace aotiny {

struct ModelOptions {
  Device device = kCPU;
  int64_t num_models = 1;   // how many threads can run an instance at the same time
  std::string name;         // which model of the package; empty for the only one
  bool cuda_graph = false;  // replay recorded runs, one recording for each shape of the inputs
};

struct Program {
  // Opens the package and the code, once all is there that they need of this machine.
  Program(const std::string& path, const ModelOptions& options);

  // What the manifest says of a constant; null if nothing.
  const ConstantSpec* find_constant(const std::string& constant) const;
  // The bytes of the constants in the package, of which `num_missing` have no value yet; fails with
  // InvalidProgram unless they are as many.
  const ZipEntry& weights_entry(size_t num_missing, size_t num_constants, uint64_t nbytes) const;

  ModelOptions options;
  std::shared_ptr<const Package> package;
  const PackagedModel& part;
  std::string name;  // for messages: path, and the model's name where there are several
  std::optional<Manifest> manifest;
  std::string unrecordable;  // why no run may become part of a graph, as the manifest tells; or ""
  std::shared_ptr<const Library> library;
  // On a device, the constants that no run changes: set by the first instance, before there are
  // others.
  std::shared_ptr<const DeviceWeights> device_weights;
};

}  // namespace aotiny
