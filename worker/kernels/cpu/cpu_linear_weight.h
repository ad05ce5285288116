#pragma once

#include <cstdint>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/kernels/cpu/row_kernels.h"

namespace thinkwire::worker::kernels {

// A matrix as the CPU streams it: bf16 panels of eight rows, one after the other, missing rows and
// columns 0. For each 32 columns a panel holds the eight rows in turn, 64 bytes each, column j
// beside column j + 16 so that one shift and one mask give sixteen f32 lanes each.
//   kPlain: panel p holds rows 8p .. 8p + 7.
//   kGateUp: panel 2p holds the gate's rows 8p .. 8p + 7, panel 2p + 1 the same of up.
class CpuLinearWeight final : public LinearWeight {
 public:
  CpuLinearWeight(LinearLayout layout, std::int64_t out_features, std::int64_t in_features,
                  Buffer panels, std::vector<float> bias)
      : layout_(layout),
        out_features_(out_features),
        in_features_(in_features),
        panels_(std::move(panels)),
        bias_(std::move(bias)) {}

  // Panels for a matrix of this shape.
  static std::int64_t NumPanels(LinearLayout layout, std::int64_t out_features) {
    const std::int64_t parts = layout == LinearLayout::kGateUp ? 2 : 1;
    return parts * ((out_features / parts + kPanelRows - 1) / kPanelRows);
  }
  // The checkpoint's row, over all parts, that panel p's row r holds; -1: none, it is 0.
  static std::int64_t RowOf(LinearLayout layout, std::int64_t out_features, std::int64_t p, int r) {
    if (layout == LinearLayout::kPlain) {
      const std::int64_t row = p * kPanelRows + r;
      return row < out_features ? row : -1;
    }
    const std::int64_t row = p / 2 * kPanelRows + r;
    return row < out_features / 2 ? row + p % 2 * (out_features / 2) : -1;
  }

  std::int64_t out_features() const override { return out_features_; }
  std::int64_t in_features() const override { return in_features_; }
  std::size_t bytes() const override { return panels_.bytes(); }

  LinearLayout layout() const { return layout_; }
  std::int64_t num_panels() const { return NumPanels(layout_, out_features_); }
  std::int64_t depth_blocks() const { return (in_features_ + kPanelDepth - 1) / kPanelDepth; }
  const std::uint16_t* panel(std::int64_t p) const {
    return static_cast<const std::uint16_t*>(panels_.data()) +
           p * depth_blocks() * kPanelDepth * kPanelRows;
  }
  // [8] of panel p, or null: no bias.
  const float* bias(std::int64_t p) const {
    return bias_.empty() ? nullptr : bias_.data() + p * kPanelRows;
  }

 private:
  const LinearLayout layout_;
  const std::int64_t out_features_;
  const std::int64_t in_features_;
  const Buffer panels_;
  const std::vector<float> bias_;  // in panel order, or empty
};

}  // namespace thinkwire::worker::kernels
