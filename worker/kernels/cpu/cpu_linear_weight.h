#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "worker/kernels/buffer.h"
#include "worker/kernels/check.h"
#include "worker/kernels/cpu/packed_panels.h"
#include "worker/kernels/cpu/panel_order.h"
#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/cpu/thread_pool.h"
#include "worker/kernels/stacked_rows.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// A matrix as the CPU streams it: bf16 panels of eight rows, one after the other, missing rows and
// columns 0. For each 32 columns a panel holds the eight rows in turn, 64 bytes each, column j
// beside column j + 16 so that one shift and one mask give sixteen f32 lanes each. PanelOrder says
// which rows.
// A matrix of which a part is packed is kept packed instead. Few tokens are multiplied by it as it
// is; for more a panel is made each time, with the bits that it would have had.
// Owns: the panels.
class CpuLinearWeight final : public LinearWeight {
 public:
  // `panels` as PackPanels, `bias` as PackBias makes it.
  CpuLinearWeight(LinearLayout layout, const LinearShape& shape, Buffer panels,
                  std::vector<float> bias)
      : layout_(layout), shape_(shape), panels_(std::move(panels)), bias_(std::move(bias)) {}

  // A packed matrix; `order` as WeightSlice's, or empty. REQUIRES: the panels are filled.
  CpuLinearWeight(LinearLayout layout, const LinearShape& shape, PackedPanels panels,
                  std::vector<std::int32_t> order, std::vector<float> bias, bool rounds_inputs)
      : layout_(layout),
        shape_(shape),
        packed_(std::move(panels)),
        order_(std::move(order)),
        bias_(std::move(bias)),
        rounds_inputs_(rounds_inputs) {}

  // REQUIRES: a CpuBackend made the weight.
  static const CpuLinearWeight& From(const LinearWeight& weight) {
    Check(weight.device() == DeviceKind::kCpu, "a weight that the CPU made");
    return static_cast<const CpuLinearWeight&>(weight);
  }

  // Of panels for a matrix of this shape.
  static std::size_t PanelBytes(LinearLayout layout, const LinearShape& shape) {
    const PanelOrder order = {layout, shape.out};
    return static_cast<std::size_t>(order.num_panels() * kPanelRows * DepthBlocks(shape.in) *
                                    kPanelDepth) *
           2;
  }

  DeviceKind device() const override { return DeviceKind::kCpu; }
  std::int64_t out_features() const override { return shape_.out; }
  std::int64_t in_features() const override { return shape_.in; }
  std::size_t bytes() const override { return is_packed() ? packed_.bytes() : panels_.bytes(); }

  LinearLayout layout() const { return layout_; }
  std::int64_t num_panels() const { return PanelOrder{layout_, shape_.out}.num_panels(); }
  std::int64_t depth_blocks() const { return DepthBlocks(shape_.in); }
  bool is_packed() const { return packed_.bytes() > 0; }
  // The input that each column multiplies, or empty: its own.
  const std::vector<std::int32_t>& order() const { return order_; }
  // Whether what it multiplies is rounded to FP8 first.
  bool rounds_inputs() const { return rounds_inputs_; }
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
  static std::int64_t DepthBlocks(std::int64_t in) { return (in + kPanelDepth - 1) / kPanelDepth; }

  const LinearLayout layout_;
  const LinearShape shape_;
  const Buffer panels_;                    // or none
  const PackedPanels packed_;              // or none
  const std::vector<std::int32_t> order_;  // or empty
  const std::vector<float> bias_;          // in panel order, or empty
  const bool rounds_inputs_ = false;
};

// Writes the panels of `parts` to `panels`, PanelBytes long and zeroed.
void PackPanels(std::span<const WeightSlice> parts, LinearLayout layout, const LinearShape& shape,
                ThreadPool& pool, std::uint16_t* panels);

// The bias in panel order, missing rows 0; of no bias nothing.
std::vector<float> PackBias(std::span<const WeightSlice> bias, LinearLayout layout,
                            const LinearShape& shape);

}  // namespace thinkwire::worker::kernels
