#include "aotiny/runtime/device_weights.h"

#include <cstring>
#include <mutex>

#include "aotiny/core/device_interface.h"

namespace aotiny {
namespace {

constexpr uint64_t kAlignment = 256;

// What one entry of the registry stands for. The package stays mapped, to compare others with.
struct SharedWeights {
  SharedWeights(std::shared_ptr<const Package> source, Bytes bytes,
                const std::vector<ConstantRange>& ranges, Device device)
      : package(std::move(source)), blob(bytes), weights(blob, ranges, device) {}

  std::shared_ptr<const Package> package;
  Bytes blob;
  DeviceWeights weights;
};

// The weights that models of this process have on devices. Entries only refer to them: the last
// model that goes takes the weights with it.
struct Registry {
  struct Entry {
    Device device;
    uint32_t crc;  // of the blob, as the package says; only to find candidates
    std::vector<ConstantRange> ranges;
    std::weak_ptr<const SharedWeights> weights;
  };
  std::mutex mutex;
  std::vector<Entry> entries;
};

Registry& registry() {
  static Registry& instance = *new Registry;  // never destroyed: models may outlive main()
  return instance;
}

bool is_same(const SharedWeights& known, const Package& package, const ZipEntry& entry,
             Bytes blob) {
  if (known.blob.size() != blob.size()) return false;
  const MappedFile& file = known.package->file();
  if (file.is_same_file(package.file()) &&
      known.blob.data() - file.bytes().data() == static_cast<ptrdiff_t>(entry.offset)) {
    return true;
  }
  return blob.empty() || std::memcmp(known.blob.data(), blob.data(), blob.size()) == 0;
}

}  // namespace

DeviceWeights::DeviceWeights(Bytes blob, const std::vector<ConstantRange>& ranges, Device device) {
  DeviceInterface& interface = device_interface(device.type);
  stream_ = interface.make_stream(device);
  uint64_t total = 0;
  for (const ConstantRange& range : ranges) {
    offsets_.push_back(total);
    total += (range.nbytes + kAlignment - 1) / kAlignment * kAlignment;
  }
  const DeviceScope scope(device, stream_->get());
  const int64_t sizes[] = {static_cast<int64_t>(total)};
  memory_ = Tensor::empty(sizes, DType::UInt8, device);
  for (size_t i = 0; i < ranges.size();) {
    // As many as lie in the device's memory as they lie in the blob.
    size_t end = i + 1;
    uint64_t nbytes = ranges[i].nbytes;
    while (end < ranges.size() && ranges[end].offset == ranges[i].offset + nbytes &&
           offsets_[end] == offsets_[i] + nbytes) {
      nbytes += ranges[end++].nbytes;
    }
    interface.upload(data(i), device, blob.data() + ranges[i].offset, nbytes);
    i = end;
  }
}

std::shared_ptr<const DeviceWeights> shared_weights(const std::shared_ptr<const Package>& package,
                                                    const ZipEntry& weights,
                                                    const std::vector<ConstantRange>& ranges,
                                                    Device device) {
  const Bytes blob = package->file().bytes().subspan(weights.offset, weights.size);
  Registry& known = registry();
  // Held while weights are loaded: of two models with the same ones the second waits for the first.
  const std::lock_guard lock(known.mutex);
  std::erase_if(known.entries, [](const auto& entry) { return entry.weights.expired(); });
  for (const Registry::Entry& entry : known.entries) {
    if (entry.device != device || entry.crc != weights.crc || entry.ranges != ranges) continue;
    const std::shared_ptr<const SharedWeights> found = entry.weights.lock();
    if (found && is_same(*found, *package, weights, blob)) return {found, &found->weights};
  }
  const auto made = std::make_shared<const SharedWeights>(package, blob, ranges, device);
  known.entries.push_back({device, weights.crc, ranges, made});
  return {made, &made->weights};
}

}  // namespace aotiny
