#include "worker/kernels/cpu/cpu_linear_weight.h"

#include <algorithm>

#include "worker/kernels/cpu/packed_layout.h"

namespace thinkwire::worker::kernels {

void CpuLinearWeight::MultiplyPanel(std::int64_t p, const RowKernels& kernels, const float* x,
                                    std::int64_t x_stride, int tokens, std::uint16_t* scratch,
                                    float* out) const {
  if (!is_packed()) {
    const auto* panels = static_cast<const std::uint16_t*>(panels_.data());
    kernels.linear_panel(x, x_stride, tokens, panels + p * panel_elements(), depth_blocks(), out);
    return;
  }
  const auto& [encoding, data] = packed_.panel(p);
  if (tokens <= kMostPackedTokens && IsReadInPlace(encoding)) {
    kernels.packed_panel(encoding, data, x, x_stride, tokens, depth_blocks(), out);
    return;
  }
  const std::uint16_t* panel = scratch;
  if (IsPacked(encoding)) {
    kernels.unpack_panel(encoding, data, depth_blocks(), scratch);
  } else {
    panel = reinterpret_cast<const std::uint16_t*>(data);
  }
  kernels.linear_panel(x, x_stride, tokens, panel, depth_blocks(), out);
}

void PackPanels(std::span<const WeightSlice> parts, LinearLayout layout, const LinearShape& shape,
                ThreadPool& pool, std::uint16_t* panels) {
  const PanelOrder order = {layout, shape.out};
  const std::int64_t depth_blocks = (shape.in + kPanelDepth - 1) / kPanelDepth;
  const std::int64_t depth = depth_blocks * kPanelDepth;
  pool.For(order.num_panels(), 16, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<std::uint16_t> rows(static_cast<std::size_t>(kPanelRows * depth));
    for (std::int64_t p = begin; p < end; ++p) {
      std::fill(rows.begin(), rows.end(), std::uint16_t{0});
      for (int r = 0; r < kPanelRows; ++r) {
        const std::int64_t row = order.row(p, r);
        if (row >= 0) ConvertRow(FindRow(parts, row), rows.data() + r * depth);
      }
      LayOutPanel(rows.data(), depth_blocks, panels + p * kPanelRows * depth);
    }
  });
}

std::vector<float> PackBias(std::span<const WeightSlice> bias, LinearLayout layout,
                            const LinearShape& shape) {
  std::vector<float> packed;
  if (bias.empty()) return packed;
  const PanelOrder order = {layout, shape.out};
  const std::int64_t size = order.num_panels() * kPanelRows;
  packed.assign(static_cast<std::size_t>(size), 0.0F);
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t row = order.row(i / kPanelRows, static_cast<int>(i % kPanelRows));
    if (row >= 0) packed[static_cast<std::size_t>(i)] = ElementOf(FindRow(bias, row), 0);
  }
  return packed;
}

}  // namespace thinkwire::worker::kernels
