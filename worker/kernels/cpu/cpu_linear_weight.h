#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "worker/kernels/buffer.h"
#include "worker/kernels/check.h"
#include "worker/kernels/cpu/packed_rows.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/thread_pool.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// A matrix as the CPU streams it: bf16 panels of eight rows, one after the other, missing rows and
// columns 0. For each 32 columns a panel holds the eight rows in turn, 64 bytes each, column j
// beside column j + 16 so that one shift and one mask give sixteen f32 lanes each.
//   kPlain, kQkv: panel p holds rows 8p .. 8p + 7.
//   kGateUp: panel 2p holds the gate's rows 8p .. 8p + 7, panel 2p + 1 the same of up.
// A matrix of which a part is packed is kept packed instead. Few tokens are multiplied by it as it
// is; for more a panel is made each time, with the bits that it would have had.
// Owns: the panels, or the packed rows.
class CpuLinearWeight final : public LinearWeight {
 public:
  // `panels` as PackPanels, `bias` as PackBias makes it.
  CpuLinearWeight(LinearLayout layout, const LinearShape& shape, Buffer panels,
                  std::vector<float> bias)
      : layout_(layout), shape_(shape), panels_(std::move(panels)), bias_(std::move(bias)) {}

  // A packed matrix; `order` as WeightSlice's, or empty. REQUIRES: its columns are whole blocks of
  // 32.
  CpuLinearWeight(LinearLayout layout, const LinearShape& shape, PackedRows rows,
                  std::vector<std::int32_t> order, std::vector<float> bias)
      : layout_(layout),
        shape_(shape),
        rows_(std::move(rows)),
        order_(std::move(order)),
        bias_(std::move(bias)) {}

  // REQUIRES: a CpuBackend made the weight.
  static const CpuLinearWeight& From(const LinearWeight& weight) {
    Check(weight.device() == DeviceKind::kCpu, "a weight that the CPU made");
    return static_cast<const CpuLinearWeight&>(weight);
  }

  // Panels for a matrix of this shape, and their size.
  static std::int64_t NumPanels(LinearLayout layout, std::int64_t out_features) {
    const std::int64_t parts = layout == LinearLayout::kGateUp ? 2 : 1;
    return parts * ((out_features / parts + kPanelRows - 1) / kPanelRows);
  }
  static std::size_t PanelBytes(LinearLayout layout, const LinearShape& shape) {
    return static_cast<std::size_t>(NumPanels(layout, shape.out) * kPanelRows *
                                    DepthBlocks(shape.in) * kPanelDepth) *
           2;
  }

  DeviceKind device() const override { return DeviceKind::kCpu; }
  std::int64_t out_features() const override { return shape_.out; }
  std::int64_t in_features() const override { return shape_.in; }
  std::size_t bytes() const override { return is_packed() ? rows_.bytes() : panels_.bytes(); }

  LinearLayout layout() const { return layout_; }
  std::int64_t num_panels() const { return NumPanels(layout_, shape_.out); }
  std::int64_t depth_blocks() const { return DepthBlocks(shape_.in); }
  bool is_packed() const { return rows_.bytes() > 0; }
  // The input that each column multiplies, or empty: its own.
  const std::vector<std::int32_t>& order() const { return order_; }
  std::int64_t panel_elements() const { return depth_blocks() * kPanelDepth * kPanelRows; }
  // out [tokens, 8] = x [tokens, in] times panel p. `scratch` has panel_elements() on whole cache
  // lines and is not touched where the weight is not packed.
  void MultiplyPanel(std::int64_t p, const RowKernels& kernels, const float* x,
                     std::int64_t x_stride, int tokens, std::uint16_t* scratch, float* out) const;
  // [8] of panel p, or null: no bias.
  const float* bias(std::int64_t p) const {
    return bias_.empty() ? nullptr : bias_.data() + p * kPanelRows;
  }

 private:
  void UnpackPanel(std::int64_t p, const RowKernels& kernels, std::uint16_t* scratch) const;
  // Whether panel p is eight packed rows of one encoding, and which.
  bool FindPackedPanel(std::int64_t p, PackedPanel& panel) const;
  static std::int64_t DepthBlocks(std::int64_t in) { return (in + kPanelDepth - 1) / kPanelDepth; }

  const LinearLayout layout_;
  const LinearShape shape_;
  const Buffer panels_;                    // or none
  const PackedRows rows_;                  // or none
  const std::vector<std::int32_t> order_;  // or empty
  const std::vector<float> bias_;          // in panel order, or empty
};

// Writes the panels of `parts` to `panels`, PanelBytes long and zeroed.
void PackPanels(std::span<const WeightSlice> parts, LinearLayout layout, const LinearShape& shape,
                ThreadPool& pool, std::uint16_t* panels);

// The bias in panel order, missing rows 0; of no bias nothing.
std::vector<float> PackBias(std::span<const WeightSlice> bias, LinearLayout layout,
                            const LinearShape& shape);

}  // namespace thinkwire::worker::kernels
