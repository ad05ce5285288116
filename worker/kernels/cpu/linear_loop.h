#pragma once

#include <algorithm>
#include <cstdint>

#include "worker/kernels/cpu/cpu_linear_weight.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/thread_pool.h"

namespace thinkwire::worker::kernels {

// Tokens whose inputs stay in a core's cache while panels pass by.
inline constexpr int kTokenBlock = 96;
inline constexpr int kMostUnitPanels = 2;

// Multiplies x [tokens, depth] by each unit of `unit_panels` consecutive panels and hands the
// results on: emit(unit, first token, tokens, sums), sums [unit_panels, tokens, 8] without bias.
// Units are spread over the pool; a unit's tokens come in ascending blocks.
template <class Emit>
void ForEachLinearUnit(ThreadPool& pool, const RowKernels& rows, const float* x,
                       std::int64_t x_stride, std::int64_t tokens, const CpuLinearWeight& weight,
                       int unit_panels, const Emit& emit) {
  const std::int64_t units = weight.num_panels() / unit_panels;
  const std::int64_t depth = weight.depth_blocks();
  const std::int64_t unit_bytes = unit_panels * depth * kPanelDepth * kPanelRows * 2;
  const std::int64_t least = std::max<std::int64_t>(1, (64 << 10) / unit_bytes);
  pool.For(units, pool.ChunkFor(units, 8, least), [&](std::int64_t begin, std::int64_t end, int) {
    alignas(64) float sums[kMostUnitPanels * kTokenBlock * kPanelRows];
    for (std::int64_t first = 0; first < tokens; first += kTokenBlock) {
      const int n = static_cast<int>(std::min<std::int64_t>(kTokenBlock, tokens - first));
      for (std::int64_t unit = begin; unit < end; ++unit) {
        for (int p = 0; p < unit_panels; ++p) {
          rows.linear_panel(x + first * x_stride, x_stride, n, weight.panel(unit * unit_panels + p),
                            depth, sums + p * n * kPanelRows);
        }
        emit(unit, first, n, sums);
      }
    }
  });
}

}  // namespace thinkwire::worker::kernels
