#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "worker/kernels/cpu/cpu_linear_weight.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/thread_pool.h"

namespace thinkwire::worker::kernels {

// Tokens whose inputs stay in a core's cache while panels pass by.
inline constexpr int kTokenBlock = 96;
inline constexpr int kMostUnitPanels = 2;

// A panel for each thread, for weights that are kept packed. Owns: them.
class PanelScratch {
 public:
  void Reserve(int threads, std::int64_t elements) {
    stride_ = (elements + kLine - 1) / kLine * kLine;
    const auto needed = static_cast<std::size_t>(threads * stride_ + kLine);
    if (memory_.size() < needed) memory_.resize(needed);
  }
  // On whole cache lines.
  std::uint16_t* of(int thread) {
    const auto first = reinterpret_cast<std::uintptr_t>(memory_.data());
    const std::uintptr_t aligned = (first + 2 * kLine - 1) / (2 * kLine) * (2 * kLine);
    return reinterpret_cast<std::uint16_t*>(aligned) + thread * stride_;
  }

 private:
  static constexpr std::int64_t kLine = 32;  // elements in a cache line

  std::int64_t stride_ = 0;
  std::vector<std::uint16_t> memory_;
};

// Multiplies x [tokens, depth] by each unit of `unit_panels` consecutive panels and hands the
// results on: emit(unit, first token, tokens, sums), sums [unit_panels, tokens, 8] without bias.
// Units are spread over the pool; a unit's tokens come in ascending blocks.
template <class Emit>
void ForEachLinearUnit(ThreadPool& pool, const RowKernels& rows, const float* x,
                       std::int64_t x_stride, std::int64_t tokens, const CpuLinearWeight& weight,
                       int unit_panels, PanelScratch& scratch, const Emit& emit) {
  if (weight.is_packed()) scratch.Reserve(pool.num_threads(), weight.panel_elements());
  const std::int64_t units = weight.num_panels() / unit_panels;
  const std::int64_t unit_bytes = unit_panels * weight.panel_elements() * 2;
  const std::int64_t least = std::max<std::int64_t>(1, (64 << 10) / unit_bytes);
  pool.For(units, pool.ChunkFor(units, 8, least),
           [&](std::int64_t begin, std::int64_t end, int thread) {
             std::uint16_t* const unpacked = weight.is_packed() ? scratch.of(thread) : nullptr;
             alignas(64) float sums[kMostUnitPanels * kTokenBlock * kPanelRows];
             for (std::int64_t first = 0; first < tokens; first += kTokenBlock) {
               const int n = static_cast<int>(std::min<std::int64_t>(kTokenBlock, tokens - first));
               for (std::int64_t unit = begin; unit < end; ++unit) {
                 for (int p = 0; p < unit_panels; ++p) {
                   weight.MultiplyPanel(unit * unit_panels + p, rows, x + first * x_stride,
                                        x_stride, n, unpacked, sums + p * n * kPanelRows);
                 }
                 emit(unit, first, n, sums);
               }
             }
           });
}

}  // namespace thinkwire::worker::kernels
