#include "worker/kernels/cpu/cpu_linear_weight.h"

#include <algorithm>

namespace thinkwire::worker::kernels {
namespace {

// The checkpoint's row, over all parts, that panel p's row r holds; -1: none, it is 0.
std::int64_t RowOf(LinearLayout layout, std::int64_t out_features, std::int64_t p, int r) {
  if (layout != LinearLayout::kGateUp) {
    const std::int64_t row = p * kPanelRows + r;
    return row < out_features ? row : -1;
  }
  const std::int64_t row = p / 2 * kPanelRows + r;
  return row < out_features / 2 ? row + p % 2 * (out_features / 2) : -1;
}

// Lays eight rows of bf16 [depth_blocks * 32] out as a panel.
void PackPanel(const std::uint16_t* rows, std::int64_t depth_blocks, std::uint16_t* panel) {
  const std::int64_t depth = depth_blocks * kPanelDepth;
  for (std::int64_t b = 0; b < depth_blocks; ++b) {
    for (int r = 0; r < kPanelRows; ++r) {
      const std::uint16_t* from = rows + r * depth + b * kPanelDepth;
      for (int j = 0; j < kPanelDepth / 2; ++j) {
        *panel++ = from[j];
        *panel++ = from[j + kPanelDepth / 2];
      }
    }
  }
}

}  // namespace

void CpuLinearWeight::MultiplyPanel(std::int64_t p, const RowKernels& kernels, const float* x,
                                    std::int64_t x_stride, int tokens, std::uint16_t* scratch,
                                    float* out) const {
  const auto* panel = static_cast<const std::uint16_t*>(panels_.data());
  if (!is_packed()) {
    panel += p * panel_elements();
    return kernels.linear_panel(x, x_stride, tokens, panel, depth_blocks(), out);
  }
  PackedPanel packed;
  if (tokens <= kMostPackedTokens && FindPackedPanel(p, packed)) {
    return kernels.packed_panel(packed, x, x_stride, tokens, depth_blocks(), out);
  }
  UnpackPanel(p, kernels, scratch);
  kernels.linear_panel(x, x_stride, tokens, scratch, depth_blocks(), out);
}

bool CpuLinearWeight::FindPackedPanel(std::int64_t p, PackedPanel& panel) const {
  for (int r = 0; r < kPanelRows; ++r) {
    const std::int64_t row = RowOf(layout_, shape_.out, p, r);
    if (row < 0) return false;
    const PackedRows::Row packed = rows_.row(row);
    if (r == 0) panel.encoding = packed.encoding;
    if (!IsPacked(packed.encoding) || packed.encoding != panel.encoding) return false;
    panel.rows[r] = packed.data;
  }
  return true;
}

void CpuLinearWeight::UnpackPanel(std::int64_t p, const RowKernels& kernels,
                                  std::uint16_t* scratch) const {
  for (int r = 0; r < kPanelRows; ++r) {
    std::uint16_t* const out = scratch + r * kPanelDepth;
    const std::int64_t row = RowOf(layout_, shape_.out, p, r);
    if (row < 0) {
      for (std::int64_t b = 0; b < depth_blocks(); ++b) {
        std::fill_n(out + b * kPanelRows * kPanelDepth, kPanelDepth, std::uint16_t{0});
      }
      continue;
    }
    const PackedRows::Row packed = rows_.row(row);
    kernels.unpack_row(packed.encoding, packed.data, depth_blocks(), out);
  }
}

void PackPanels(std::span<const WeightSlice> parts, LinearLayout layout, const LinearShape& shape,
                ThreadPool& pool, std::uint16_t* panels) {
  const std::int64_t depth_blocks = (shape.in + kPanelDepth - 1) / kPanelDepth;
  const std::int64_t depth = depth_blocks * kPanelDepth;
  const std::int64_t num_panels = CpuLinearWeight::NumPanels(layout, shape.out);
  pool.For(num_panels, 16, [&](std::int64_t begin, std::int64_t end, int) {
    std::vector<std::uint16_t> rows(static_cast<std::size_t>(kPanelRows * depth));
    for (std::int64_t p = begin; p < end; ++p) {
      std::fill(rows.begin(), rows.end(), std::uint16_t{0});
      for (int r = 0; r < kPanelRows; ++r) {
        const std::int64_t row = RowOf(layout, shape.out, p, r);
        if (row >= 0) ConvertRow(FindRow(parts, row), rows.data() + r * depth);
      }
      PackPanel(rows.data(), depth_blocks, panels + p * kPanelRows * depth);
    }
  });
}

std::vector<float> PackBias(std::span<const WeightSlice> bias, LinearLayout layout,
                            const LinearShape& shape) {
  std::vector<float> packed;
  if (bias.empty()) return packed;
  const std::int64_t size = CpuLinearWeight::NumPanels(layout, shape.out) * kPanelRows;
  packed.assign(static_cast<std::size_t>(size), 0.0F);
  for (std::int64_t i = 0; i < size; ++i) {
    const std::int64_t row =
        RowOf(layout, shape.out, i / kPanelRows, static_cast<int>(i % kPanelRows));
    if (row >= 0) packed[static_cast<std::size_t>(i)] = ElementOf(FindRow(bias, row), 0);
  }
  return packed;
}

}  // namespace thinkwire::worker::kernels
