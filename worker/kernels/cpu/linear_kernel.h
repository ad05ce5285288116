#pragma once

#include <cstdint>

#include "worker/kernels/cpu/row_kernels.h"

// out[t, r] = dot(x[t], w[r]) for one panel of eight rows of weights (cpu_linear_weight.h), by the
// canonical dot product of row_kernels_impl.h. A tile of tokens x rows keeps one accumulator of
// sixteen lanes for each output in registers; one token makes a memory-bound stream over the panel.
namespace thinkwire::worker::kernels {

template <class L, int kTokens, int kRows>
void LinearTile(const float* x, std::int64_t x_stride, const std::uint16_t* panel,
                std::int64_t depth_blocks, float* out) {
  static_assert(kPanelRows % kRows == 0);
  L acc[kTokens][kRows];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) acc[t][r] = L::Set(0.0F);
  }
  for (std::int64_t b = 0; b < depth_blocks; ++b) {
    L x_first[kTokens];
    L x_second[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      x_first[t] = L::Load(x + t * x_stride);
      x_second[t] = L::Load(x + t * x_stride + 16);
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      L w_first;
      L w_second;
      L::LoadPanelBf16(panel + r * kPanelDepth, &w_first, &w_second);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) acc[t][r] = L::Fma(w_first, x_first[t], acc[t][r]);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) acc[t][r] = L::Fma(w_second, x_second[t], acc[t][r]);
    }
    x += kPanelDepth;
    panel += kPanelRows * kPanelDepth;
  }
  for (int t = 0; t < kTokens; ++t) {
    if constexpr (kRows % 4 == 0) {
#pragma GCC unroll 2
      for (int r = 0; r < kRows; r += 4) L::Sum4(&acc[t][r], out + t * kPanelRows + r);
    } else {
      static_assert(kRows == 2);
      const L pair[4] = {acc[t][0], acc[t][1], acc[t][0], acc[t][1]};
      float sums[4];
      L::Sum4(pair, sums);
      out[t * kPanelRows] = sums[0];
      out[t * kPanelRows + 1] = sums[1];
    }
  }
}

template <class L, int kTokens>
void LinearRows(const float* x, std::int64_t x_stride, const std::uint16_t* panel,
                std::int64_t depth_blocks, float* out) {
  constexpr int kRows = kTokens == 1 ? L::kTokenRows : L::kTileRows;
  for (int r = 0; r < kPanelRows; r += kRows) {
    LinearTile<L, kTokens, kRows>(x, x_stride, panel + r * kPanelDepth, depth_blocks, out + r);
  }
}

template <class L>
void LinearPanel(const float* x, std::int64_t x_stride, int tokens, const std::uint16_t* panel,
                 std::int64_t depth_blocks, float* out) {
  int t = 0;
  for (; t + L::kTileTokens <= tokens; t += L::kTileTokens) {
    LinearRows<L, L::kTileTokens>(x + t * x_stride, x_stride, panel, depth_blocks,
                                  out + t * kPanelRows);
  }
  if constexpr (L::kTileTokens > 2) {
    if (t + 2 <= tokens) {
      LinearRows<L, 2>(x + t * x_stride, x_stride, panel, depth_blocks, out + t * kPanelRows);
      t += 2;
    }
  }
  for (; t < tokens; ++t) {
    LinearRows<L, 1>(x + t * x_stride, x_stride, panel, depth_blocks, out + t * kPanelRows);
  }
}

}  // namespace thinkwire::worker::kernels
