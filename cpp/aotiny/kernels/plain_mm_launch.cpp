#include "aotiny/kernels/plain_mm_launch.h"

#include <algorithm>
#include <cstring>
#include <ostream>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"

namespace aotiny {
namespace {

constexpr int64_t kOverRead = 16;            // what kernels may read past a panel's planes
constexpr int64_t kChunkBytes = 256 * 1024;  // of quantized activations, to stay in the L2 cache
constexpr int64_t kGrainProducts = 1 << 19;  // multiply-adds that outweigh a thread's start
constexpr int64_t kParamsRound = 16;         // groups come in multiples of it

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Memory for one thread's panel and what it needs on the way.
struct Workspace {
  Workspace(const PlainMmArgs& args, const PlainMmPlan& plan, const PlainMmKernels& kernels)
      : params(2 * ceil_div(args.k / args.group_size, kParamsRound) * kParamsRound * kernels.lanes),
        unpacked(plan.direct ? 0 : kernels.lanes * args.k),
        tile(kernels.max_rows * kernels.lanes),
        bias(kernels.lanes),
        edge(edge_bytes(args, kernels)) {}

  // Room for a copy of one panel's planes, each followed by room to over-read.
  static int64_t edge_bytes(const PlainMmArgs& args, const PlainMmKernels& kernels) {
    int64_t total = 0;
    for (size_t i = 0; i < format_info(args.format).planes.size(); ++i) {
      total += kernels.lanes * row_bytes(format_info(args.format).planes[i], args) + kOverRead;
    }
    return total;
  }

  static int64_t row_bytes(const PlaneSpec& spec, const PlainMmArgs& args) {
    return spec.columns(args.k, args.group_size) * static_cast<int64_t>(itemsize(spec.dtype));
  }

  Scratch<float> params;
  Scratch<uint8_t> unpacked;
  Scratch<float> tile;
  Scratch<float> bias;
  Scratch<uint8_t> edge;
};

// The rows from n0 on. Where a panel, or what a kernel reads past it, reaches over the end of the
// weight, a copy padded with zeros.
PlainPanel panel_at(const PlainMmArgs& args, int64_t n0, int lanes, const Workspace& workspace) {
  const std::span<const PlaneSpec> specs = format_info(args.format).planes;
  PlainPanel panel{};
  bool inside = true;
  for (size_t i = 0; i < specs.size(); ++i) {
    panel.stride[i] = args.stride[i];
    panel.plane[i] = args.plane[i] + n0 * panel.stride[i];
    inside = inside && (args.n - n0 - lanes) * panel.stride[i] >= kOverRead;
  }
  if (inside) return panel;
  uint8_t* out = workspace.edge.data();
  const int64_t rows = std::min<int64_t>(lanes, args.n - n0);
  for (size_t i = 0; i < specs.size(); ++i) {
    // Row by row and dense: the strides of views are of any size, and of one row have no meaning.
    const int64_t width = Workspace::row_bytes(specs[i], args);
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(out + row * width, panel.plane[i] + row * panel.stride[i],
                  static_cast<size_t>(width));
    }
    const int64_t room = lanes * width + kOverRead;
    std::memset(out + rows * width, 0, static_cast<size_t>(room - rows * width));
    panel.plane[i] = out;
    panel.stride[i] = width;
    out += room;
  }
  return panel;
}

template <class T>
void store_rows(const float* tile, int64_t rows, int64_t lanes, int64_t columns, T* y,
                int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < columns; ++j) y[r * y_stride + j] = convert<T>(tile[r * lanes + j]);
  }
}

void store_tile(const float* tile, int64_t rows, int64_t lanes, int64_t columns,
                const PlainMmArgs& args, int64_t offset) {
  if (args.dtype == DType::Float32) {
    store_rows(tile, rows, lanes, columns, static_cast<float*>(args.y) + offset, args.n);
  } else if (args.dtype == DType::Float16) {
    store_rows(tile, rows, lanes, columns, static_cast<Float16*>(args.y) + offset, args.n);
  } else {
    store_rows(tile, rows, lanes, columns, static_cast<BFloat16*>(args.y) + offset, args.n);
  }
}

// One panel against the rows of x from m0 to m1.
void visit_panel(const PlainMmArgs& args, const PlainMmPlan& plan, const PlainMmKernels& kernels,
                 int64_t n0, int64_t m0, int64_t m1, const int8_t* q, const BlockScale* blocks,
                 const Workspace& workspace) {
  const PlainFormatKernels& format = kernels.formats[static_cast<int>(args.format)];
  const int64_t lanes = kernels.lanes, num_blocks = args.k / kBlock;
  const int64_t columns = std::min(lanes, args.n - n0);
  PlainTile tile{};
  tile.groups = args.k / args.group_size;
  tile.group_blocks = args.group_size / kBlock;
  tile.group_halves = args.group_size / (kBlock / 2);
  tile.packed = panel_at(args, n0, kernels.lanes, workspace);
  float* scale = workspace.params.data();
  float* zero = scale + ceil_div(tile.groups, kParamsRound) * kParamsRound * lanes;
  format.load_params(tile.packed, tile.groups, args.group_size, scale, zero);
  tile.scale = scale;
  tile.zero = zero;
  if (!plan.direct) format.unpack(tile.packed, num_blocks, workspace.unpacked.data());
  tile.unpacked = workspace.unpacked.data();
  if (args.bias != nullptr) {
    std::copy(args.bias + n0, args.bias + n0 + columns, workspace.bias.data());
    std::fill(workspace.bias.data() + columns, workspace.bias.data() + lanes, 0.0f);
    tile.bias = workspace.bias.data();
  }
  const bool in_place = args.dtype == DType::Float32 && columns == lanes;
  for (int64_t m = m0; m < m1; m += plan.tile_rows) {
    const int64_t rows = std::min(plan.tile_rows, m1 - m);
    tile.q = q + m * args.k;
    tile.blocks = blocks + m * num_blocks;
    tile.y = in_place ? static_cast<float*>(args.y) + m * args.n + n0 : workspace.tile.data();
    tile.y_stride = in_place ? args.n : lanes;
    (plan.direct ? format.direct : format.tile)(tile, static_cast<int>(rows));
    if (!in_place) store_tile(tile.y, rows, lanes, columns, args, m * args.n + n0);
  }
}

}  // namespace

const PlainMmKernels& plain_mm_kernels(PlainMmIsa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case PlainMmIsa::Avx512Vnni:
      return kPlainMmAvx512Vnni;
    case PlainMmIsa::Avx2:
      return kPlainMmAvx2;
#endif
    default:
      return kPlainMm;
  }
}

PlainMmPlan plan_plain_mm(const PlainMmProblem& problem, const CpuFeatures& features) {
  PlainMmPlan plan;
  plan.isa = features.avx512_vnni ? PlainMmIsa::Avx512Vnni
             : features.avx2      ? PlainMmIsa::Avx2
                                  : PlainMmIsa::Portable;
  const PlainMmKernels& kernels = plain_mm_kernels(plan.isa);
  const int64_t m = std::max<int64_t>(problem.m, 1);
  const int64_t num_panels = ceil_div(problem.n, kernels.lanes);
  // Tiles of equal height: nine rows are five and four, not eight and one.
  plan.tile_rows = ceil_div(m, ceil_div(m, kernels.max_rows));
  plan.direct = m <= kernels.max_rows;
  plan.chunk_rows = std::max(kChunkBytes / problem.k, 4 * plan.tile_rows);
  // Few panels: cut along m too, until every thread has a few visits to balance.
  while (num_panels * ceil_div(m, plan.chunk_rows) < 4 * problem.threads &&
         plan.chunk_rows > 8 * plan.tile_rows) {
    plan.chunk_rows /= 2;
  }
  plan.chunk_rows = std::min(ceil_div(plan.chunk_rows, plan.tile_rows) * plan.tile_rows, m);
  plan.grain = ceil_div(kGrainProducts, plan.chunk_rows * kernels.lanes * problem.k);
  return plan;
}

std::ostream& operator<<(std::ostream& out, const PlainMmProblem& problem) {
  const FormatInfo& info = format_info(problem.format);
  return out << "plain_mm " << info.name << info.variant << " m=" << problem.m << " n=" << problem.n
             << " k=" << problem.k << " g=" << problem.group_size << " threads=" << problem.threads;
}

std::ostream& operator<<(std::ostream& out, const PlainMmPlan& plan) {
  return out << plain_mm_kernels(plan.isa).name << " chunk_rows=" << plan.chunk_rows
             << " tile_rows=" << plan.tile_rows << (plan.direct ? " direct" : " unpacked")
             << " grain=" << plan.grain;
}

const char* plain_mm(const PlainMmArgs& args, const CpuFeatures& features) {
  const PlainMmPlan plan = plan_plain_mm(
      {args.format, args.m, args.n, args.k, args.group_size, max_threads()}, features);
  const PlainMmKernels& kernels = plain_mm_kernels(plan.isa);
  if (args.m == 0) return kernels.name;
  Scratch<int8_t> q(args.m * args.k);
  Scratch<BlockScale> blocks(args.m * (args.k / kBlock));
  quantize_activations(args.x, args.dtype, args.x_stride, args.m, args.k,
                       format_info(args.format).order, plan.tile_rows, q.data(), blocks.data(),
                       features);
  const int64_t num_panels = ceil_div(args.n, kernels.lanes);
  const int64_t num_chunks = ceil_div(args.m, plan.chunk_rows);
  parallel_for(num_chunks * num_panels, plan.grain, [&](int64_t begin, int64_t end) {
    const Workspace workspace(args, plan, kernels);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t m0 = i / num_panels * plan.chunk_rows;
      visit_panel(args, plan, kernels, i % num_panels * kernels.lanes, m0,
                  std::min(args.m, m0 + plan.chunk_rows), q.data(), blocks.data(), workspace);
    }
  });
  return kernels.name;
}

}  // namespace aotiny
