#include "aotiny/quant/gguf.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <optional>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/quant/gguf_blocks.h"

namespace aotiny {
namespace {

// Read at a time by a thread: little enough to stay in its cache until it is taken apart.
constexpr int64_t kPieceBytes = int64_t{1} << 18;

template <class... Blocks>
struct BlockList {};
using AllBlocks = BlockList<gguf::Q4_0, gguf::Q8_0, gguf::Q4_K, gguf::Q5_K, gguf::Q6_K>;

template <class Blocks>
constexpr GgufType describe() {
  return {Blocks::kName, Blocks::kWeights, Blocks::kBytes, kFormatId<typename Blocks::Traits>,
          Blocks::Traits::kInfo.default_group};
}

template <class... Blocks>
constexpr std::array<GgufType, sizeof...(Blocks)> describe_all(BlockList<Blocks...>) {
  return {describe<Blocks>()...};
}
constexpr auto kTypes = describe_all(AllBlocks{});

// Calls f with an object of the block type.
template <class F, class... Blocks>
void visit_blocks(const GgufType& type, const F& f, BlockList<Blocks...>) {
  ((type.name == std::string_view(Blocks::kName) ? f(Blocks{}) : void()), ...);
}

int64_t count_blocks(const GgufType& type, IntSpan shape) {
  require(shape.size() == 2 || shape.size() == 3, Status::InvalidArgument, type.name,
          ": a weight has 2 dimensions, a stack of them 3, not ", shape.size(), " (shape ",
          Shape{shape}, ")");
  const int64_t numel = checked_numel(shape);
  require(numel > 0 && shape.back() % type.block_weights == 0, Status::InvalidArgument, type.name,
          ": shape ", Shape{shape}, " is not of whole blocks of ", type.block_weights, " along K");
  return numel / type.block_weights;
}

// The first block with a scale that is NaN or infinite, or `count`.
template <class Blocks>
int64_t first_not_finite(const uint8_t* block, int64_t count) {
  for (int64_t i = 0; i < count; ++i, block += Blocks::kBytes) {
    for (const int step : Blocks::kSteps) {
      if (!gguf::is_finite(gguf::load<Float16>(block + step))) return i;
    }
  }
  return count;
}

// Asks for large pages under a plane that is about to be written for the first time: filling small
// ones would take longer than taking the blocks apart.
void prefer_large_pages(const Tensor& plane) {
#ifdef MADV_HUGEPAGE
  constexpr uintptr_t kLargePage = uintptr_t{1} << 21;
  const auto begin = reinterpret_cast<uintptr_t>(plane.raw_data());
  const uintptr_t end = begin + static_cast<size_t>(plane.numel()) * plane.itemsize();
  const uintptr_t first = (begin + kLargePage - 1) / kLargePage * kLargePage;
  const uintptr_t last = end / kLargePage * kLargePage;
  if (first < last) {
    ::madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
  }
#endif
}

// Takes all blocks apart into a contiguous weight, on all threads. fetch(offset in bytes, bytes,
// buffer) brings blocks into the buffer, or has them elsewhere, and returns where they are. Returns
// the first block with a scale that is not finite, or INT64_MAX.
template <class Blocks, class Fetch>
int64_t take_apart(const Weight& weight, int64_t num_blocks, const Fetch& fetch) {
  // The planes are contiguous, so what belongs to a block follows what belongs to the last.
  const std::span<const PlaneSpec> planes = weight.info().planes;
  int64_t step[kMaxPlanes];
  for (size_t i = 0; i < planes.size(); ++i) {
    step[i] = planes[i].columns(Blocks::kWeights, weight.group_size()) *
              static_cast<int64_t>(itemsize(planes[i].dtype));
  }
  constexpr int64_t kPiece = kPieceBytes / Blocks::kBytes;
  const int64_t pieces = (num_blocks + kPiece - 1) / kPiece;
  std::atomic<int64_t> next{0}, first_bad{INT64_MAX};
  // Threads take pieces in turn, so that a file is read from front to back.
  parallel_for(std::min<int64_t>(pieces, max_threads()), 1, [&](int64_t, int64_t) {
    Scratch<uint8_t> buffer(kPiece * Blocks::kBytes);
    for (int64_t piece = next++; piece < pieces; piece = next++) {
      const int64_t begin = piece * kPiece, count = std::min(kPiece, num_blocks - begin);
      const uint8_t* block = fetch(begin * Blocks::kBytes, count * Blocks::kBytes, buffer.data());
      const int64_t good = first_not_finite<Blocks>(block, count);
      if (good < count) {
        int64_t seen = first_bad.load();
        while (begin + good < seen && !first_bad.compare_exchange_weak(seen, begin + good)) {
        }
        return;  // the pieces before this one are taken already
      }
      WeightRow to = weight.row(0);
      for (size_t i = 0; i < planes.size(); ++i) to.plane[i] += begin * step[i];
      Blocks::repack(block, count, to);
    }
  });
  return first_bad.load();
}

template <class Fetch>
Weight import_blocks(const GgufType& type, IntSpan shape, const Fetch& fetch) {
  const int64_t num_blocks = count_blocks(type, shape);
  Weight weight = Weight::empty(type.format, shape[shape.size() - 2], shape.back(), type.group_size,
                                shape.size() == 3 ? std::optional(shape[0]) : std::nullopt);
  for (const Tensor& plane : weight.planes()) prefer_large_pages(plane);
  int64_t bad = INT64_MAX;
  const auto run = [&](auto blocks) {
    bad = take_apart<decltype(blocks)>(weight, num_blocks, fetch);
  };
  visit_blocks(type, run, AllBlocks{});
  const int64_t per_row = weight.k() / type.block_weights;
  require(bad == INT64_MAX, Status::InvalidArgument, type.name, ": block ", bad % per_row,
          " of row ", bad / per_row, " has a scale that is not finite");
  return weight;
}

}  // namespace

std::span<const GgufType> gguf_types() { return kTypes; }

const GgufType& find_gguf_type(std::string_view name) {
  std::ostringstream known;
  for (const GgufType& type : kTypes) {
    if (name == type.name) return type;
    known << (known.tellp() > 0 ? ", " : "") << type.name;
  }
  fail(Status::NotSupported, "GGUF type ", name, " is none of ", known.str());
}

Weight import_gguf(const GgufType& type, std::span<const uint8_t> blocks, IntSpan shape) {
  const size_t nbytes =
      checked_nbytes(count_blocks(type, shape), static_cast<size_t>(type.block_bytes));
  require(blocks.size() == nbytes, Status::InvalidArgument, type.name, ": shape ", Shape{shape},
          " needs ", nbytes, " bytes of blocks, ", blocks.size(), " were given");
  return import_blocks(type, shape,
                       [&](int64_t offset, int64_t, uint8_t*) { return blocks.data() + offset; });
}

Weight read_gguf(const GgufType& type, int file, int64_t offset, IntSpan shape) {
  const size_t nbytes =
      checked_nbytes(count_blocks(type, shape), static_cast<size_t>(type.block_bytes));
  struct stat status {};
  require(::fstat(file, &status) == 0, Status::AccessFailed, type.name, ": ", std::strerror(errno));
  const int64_t size = status.st_size;
  // Before memory is taken for what is not there.
  require(offset >= 0 && offset <= size && nbytes <= static_cast<size_t>(size - offset),
          Status::InvalidArgument, type.name, ": ", nbytes, " bytes at offset ", offset,
          " reach beyond the file's ", size);
  return import_blocks(type, shape, [&](int64_t begin, int64_t count, uint8_t* buffer) {
    for (int64_t done = 0; done < count;) {
      const ssize_t got =
          ::pread(file, buffer + done, static_cast<size_t>(count - done), offset + begin + done);
      if (got < 0 && errno == EINTR) continue;
      require(got >= 0, Status::AccessFailed, type.name, ": reading at offset ",
              offset + begin + done, ": ", std::strerror(errno));
      require(got > 0, Status::AccessFailed, type.name, ": the file ends at offset ",
              offset + begin + done, ", ", count - done, " bytes are missing");
      done += got;
    }
    return buffer;
  });
}

}  // namespace aotiny
