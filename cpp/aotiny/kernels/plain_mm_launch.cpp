#include "aotiny/kernels/plain_mm_launch.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <ostream>

#include "aotiny/core/parallel.h"
#include "aotiny/core/scratch.h"
#include "aotiny/kernels/gemm_kernels.h"

namespace aotiny {
namespace {

constexpr int64_t kChunkBytes = 384 * 1024;  // of a stretch of activations, for the L2 cache
constexpr int64_t kDirectStretch = 2048;     // of k: 64 groups' numbers in the L1 cache
constexpr int64_t kTileStretch = 2048;       // and unpacked panels in the L2 cache
constexpr int64_t kGrainProducts = 1 << 19;  // multiply-adds that outweigh a thread's start
constexpr int64_t kParamsRound = 16;         // groups come in multiples of it
constexpr int64_t kLine = 64;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

int64_t panels_of(const PlainMmPlan& plan, const PlainMmKernels& kernels) {
  return plan.direct ? 1 : kernels.panels;
}

// Bytes of a row in a plane.
int64_t row_bytes(const PlaneSpec& spec, int64_t k, int64_t group_size) {
  return spec.columns(k, group_size) * static_cast<int64_t>(itemsize(spec.dtype));
}

// Memory for one thread's panels and what it needs on the way.
struct Workspace {
  Workspace(const PlainMmArgs& args, const PlainMmPlan& plan, const PlainMmKernels& kernels)
      : lanes(panels_of(plan, kernels) * kernels.lanes),
        params_stride(round_up(plan.stretch / args.group_size, kParamsRound) * kernels.lanes),
        params(2 * panels_of(plan, kernels) * params_stride),
        unpacked(plan.direct ? 0 : lanes * plan.stretch),
        sums(plan.chunk_rows * lanes),
        bias(lanes),
        edge_bytes(edge_bytes_of(args, kernels)),
        edge(panels_of(plan, kernels) * edge_bytes) {}

  // Room for a copy of one panel's planes, each followed by room to over-read.
  static int64_t edge_bytes_of(const PlainMmArgs& args, const PlainMmKernels& kernels) {
    int64_t total = 0;
    for (const PlaneSpec& spec : format_info(args.format).planes) {
      total += kernels.lanes * row_bytes(spec, args.k, args.group_size) + kPlainOverRead;
    }
    return total;
  }

  int64_t lanes;  // of all panels
  int64_t params_stride;
  Scratch<float> params;
  Scratch<uint8_t> unpacked;
  Scratch<float> sums;  // [chunk_rows][lanes]
  Scratch<float> bias;  // [lanes]
  int64_t edge_bytes;
  Scratch<uint8_t> edge;
};

// The rows from n0 on. Where a panel, or what a kernel reads past it, reaches over the end of the
// weight, a copy at `edge` padded with zeros.
PlainPanel panel_at(const PlainMmArgs& args, int64_t n0, int lanes, uint8_t* edge) {
  const std::span<const PlaneSpec> specs = format_info(args.format).planes;
  const int64_t rows = std::clamp<int64_t>(args.n - n0, 0, lanes);
  PlainPanel panel{};
  bool inside = true;
  for (size_t i = 0; i < specs.size(); ++i) {
    panel.stride[i] = args.stride[i];
    panel.plane[i] = args.plane[i] + (rows == 0 ? 0 : n0 * panel.stride[i]);
    inside = inside && (args.n - n0 - lanes) * panel.stride[i] >= kPlainOverRead;
  }
  if (inside) return panel;
  for (size_t i = 0; i < specs.size(); ++i) {
    // Row by row and dense: the strides of views are of any size, and of one row have no meaning.
    const int64_t width = row_bytes(specs[i], args.k, args.group_size);
    for (int64_t row = 0; row < rows; ++row) {
      std::memcpy(edge + row * width, panel.plane[i] + row * panel.stride[i],
                  static_cast<size_t>(width));
    }
    const int64_t room = lanes * width + kPlainOverRead;
    std::memset(edge + rows * width, 0, static_cast<size_t>(room - rows * width));
    panel.plane[i] = edge;
    panel.stride[i] = width;
    edge += room;
  }
  return panel;
}

// The same rows from k0 on, which begins a group and, where there are any, a super-block.
PlainPanel panel_from(const PlainMmArgs& args, PlainPanel panel, int64_t k0) {
  const std::span<const PlaneSpec> specs = format_info(args.format).planes;
  for (size_t i = 0; i < specs.size(); ++i) {
    if (specs[i].per != Per::Row) panel.plane[i] += row_bytes(specs[i], k0, args.group_size);
  }
  return panel;
}

// y[m0:m0+rows, n0:n0+columns] from finished sums [rows][lanes].
void store(const PlainMmArgs& args, int64_t m0, int64_t rows, int64_t n0, int64_t columns,
           const float* sums, int64_t lanes, const GemmKernels& convert) {
  for (int64_t m = m0; m < m0 + rows; ++m, sums += lanes) {
    const int64_t offset = m * args.n + n0;
    if (args.dtype == DType::Float32) {
      std::copy(sums, sums + columns, static_cast<float*>(args.y) + offset);
    } else {
      (args.dtype == DType::BFloat16 ? convert.float_to_bf16 : convert.float_to_fp16)(
          columns, sums, static_cast<uint16_t*>(args.y) + offset);
    }
  }
}

// To the L2 cache: what k0..k0+k has in the planes beside the first of the panels after these,
// which lie after them in memory. The kernels fetch the first plane's, the largest part.
void fetch_small_planes(const PlainMmArgs& args, const PlainPanel& panel, int64_t rows, int64_t k0,
                        int64_t k) {
  const std::span<const PlaneSpec> specs = format_info(args.format).planes;
  for (size_t i = 1; i < specs.size(); ++i) {
    if (specs[i].per == Per::Row) continue;
    const uint8_t* next =
        panel.plane[i] + rows * panel.stride[i] + rows * row_bytes(specs[i], k0, args.group_size);
    const int64_t bytes = rows * row_bytes(specs[i], k, args.group_size);
    for (int64_t byte = 0; byte < bytes; byte += kLine) __builtin_prefetch(next + byte, 0, 2);
  }
}

// Quantized rows of x, as quantize_activations leaves them.
struct Quantized {
  const int8_t* q;
  const BlockScale* blocks;
};

// Some panels against the rows of x from m0 to m1.
void visit_panels(const PlainMmArgs& args, const PlainMmPlan& plan, const PlainMmKernels& kernels,
                  int64_t n0, int64_t m0, int64_t m1, const Quantized& x,
                  const Workspace& workspace, const CpuFeatures& features) {
  const PlainFormatKernels& format = kernels.formats[static_cast<int>(args.format)];
  const int64_t panels = panels_of(plan, kernels), lanes = kernels.lanes;
  const int64_t num_blocks = args.k / kBlock, num_tiles = ceil_div(m1 - m0, plan.tile_rows);
  PlainPanel whole[kMaxPanels];
  for (int64_t p = 0; p < panels; ++p) {
    whole[p] = panel_at(args, n0 + p * lanes, kernels.lanes,
                        workspace.edge.data() + p * workspace.edge_bytes);
  }
  const int64_t columns = std::min(workspace.lanes, args.n - n0);
  // Sums stand where the result is wanted, if it is in fp32 and whole.
  const bool in_place = args.dtype == DType::Float32 && columns == workspace.lanes;
  float* sums = in_place ? static_cast<float*>(args.y) + m0 * args.n + n0 : workspace.sums.data();
  const int64_t sums_stride = in_place ? args.n : workspace.lanes;
  const float* bias = nullptr;
  if (args.bias != nullptr) {
    std::copy(args.bias + n0, args.bias + n0 + columns, workspace.bias.data());
    std::fill(workspace.bias.data() + columns, workspace.bias.data() + workspace.lanes, 0.0f);
    bias = workspace.bias.data();
  }
  for (int64_t k0 = 0; k0 < args.k; k0 += plan.stretch) {
    const int64_t k = std::min(plan.stretch, args.k - k0), groups = k / args.group_size;
    PlainTile tile{};
    tile.num_blocks = k / kBlock;
    tile.group_blocks = args.group_size / kBlock;
    tile.group_halves = args.group_size / (kBlock / 2);
    tile.scale = workspace.params.data();
    tile.zero = tile.scale + panels * workspace.params_stride;
    tile.params_stride = workspace.params_stride;
    tile.unpacked = workspace.unpacked.data();
    tile.first = k0 == 0;
    tile.bias = k0 + k == args.k ? bias : nullptr;
    tile.sums_stride = sums_stride;
    for (int64_t p = 0; p < panels; ++p) {
      tile.packed = panel_from(args, whole[p], k0);
      float* scale = workspace.params.data() + p * workspace.params_stride;
      format.load_params(tile.packed, groups, args.group_size, scale,
                         scale + panels * workspace.params_stride);
      if (!plan.direct) {
        format.unpack(tile.packed, tile.num_blocks, workspace.unpacked.data() + p * lanes * 4);
      }
    }
    fetch_small_planes(args, whole[0], workspace.lanes, k0, k);
    // The next panels follow these in memory: every tile fetches a part of their codes.
    const int64_t code_bytes = row_bytes(format_info(args.format).planes[0], kBlock, kBlock);
    tile.next = whole[0].plane[0] + workspace.lanes * whole[0].stride[0] +
                k0 / kBlock * workspace.lanes * code_bytes;
    tile.next_bytes = round_up(ceil_div(workspace.lanes * code_bytes, num_tiles), kLine);
    for (int64_t m = m0; m < m1; m += plan.tile_rows) {
      const int64_t rows = std::min(plan.tile_rows, m1 - m);
      tile.q = x.q + m * args.k + k0 * rows;
      tile.blocks = x.blocks + m * num_blocks + k0 / kBlock * rows;
      tile.sums = sums + (m - m0) * sums_stride;
      (plan.direct ? format.direct : format.tile)(tile, static_cast<int>(rows));
      tile.next += tile.num_blocks * tile.next_bytes;
    }
  }
  if (in_place) return;
  store(args, m0, m1 - m0, n0, columns, sums, workspace.lanes, gemm_kernels(features));
}

// Whole groups, and of super-blocks and of what kernels take at once whole ones too.
int64_t stretch_of(const PlainMmProblem& problem, int64_t wanted) {
  const int64_t unit = std::lcm(problem.group_size, kSuperBlock);
  return std::min(problem.k, std::max<int64_t>(1, wanted / unit) * unit);
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
  plan.direct = m <= kernels.direct_rows;
  // Tiles of equal height: seven rows are four and three, not six and one.
  plan.tile_rows = ceil_div(m, ceil_div(m, plan.direct ? kernels.direct_rows : kernels.tile_rows));
  plan.stretch = stretch_of(problem, plan.direct ? kDirectStretch : kTileStretch);
  plan.chunk_rows = std::max(kChunkBytes / plan.stretch, 4 * plan.tile_rows);
  // Few panels: cut along m too, until every thread has a few visits to balance.
  const int64_t lanes = panels_of(plan, kernels) * kernels.lanes;
  const int64_t num_visits = ceil_div(problem.n, lanes);
  while (num_visits * ceil_div(m, plan.chunk_rows) < 4 * problem.threads &&
         plan.chunk_rows > 8 * plan.tile_rows) {
    plan.chunk_rows /= 2;
  }
  plan.chunk_rows = std::min(round_up(plan.chunk_rows, plan.tile_rows), m);
  plan.grain = ceil_div(kGrainProducts, plan.chunk_rows * lanes * problem.k);
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
             << " stretch=" << plan.stretch << " grain=" << plan.grain;
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
  const int64_t lanes = panels_of(plan, kernels) * kernels.lanes;
  const int64_t num_visits = ceil_div(args.n, lanes);
  const int64_t num_chunks = ceil_div(args.m, plan.chunk_rows);
  parallel_for(num_chunks * num_visits, plan.grain, [&](int64_t begin, int64_t end) {
    const Workspace workspace(args, plan, kernels);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t m0 = i / num_visits * plan.chunk_rows;
      visit_panels(args, plan, kernels, i % num_visits * lanes, m0,
                   std::min(args.m, m0 + plan.chunk_rows), {q.data(), blocks.data()}, workspace,
                   features);
    }
  });
  return kernels.name;
}

}  // namespace aotiny
