#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cpu/panel_order.h"
#include "worker/kernels/cpu/thread_pool.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// The panels of a matrix of which a part is packed, one after another: the only copy that the CPU
// keeps of it. A panel whose rows have one packed encoding keeps it (packed_layout.h); one of rows
// of several, or of none, is bf16 (cpu_linear_weight.h).
// Owns: the panels. Threads: immutable once filled.
class PackedPanels {
 public:
  struct Panel {
    Encoding encoding = Encoding::kBf16;
    std::uint8_t* data = nullptr;  // on whole cache lines
  };

  PackedPanels() = default;
  // Chooses what each panel is. REQUIRES: the parts' columns are whole blocks of 32.
  PackedPanels(std::span<const WeightSlice> parts, const PanelOrder& order);

  // REQUIRES: the parts of the constructor, and zeroed memory of bytes().
  void Fill(std::span<const WeightSlice> parts, ThreadPool& pool, Buffer memory);

  const Panel& panel(std::int64_t p) const { return panels_[static_cast<std::size_t>(p)]; }
  std::size_t bytes() const { return bytes_; }

 private:
  void FillPanel(std::span<const WeightSlice> parts, std::int64_t p) const;

  PanelOrder order_;
  std::int64_t cols_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Panel> panels_;
  Buffer memory_;
};

// Lays eight rows of bf16 [depth_blocks * 32] out as a panel.
void LayOutPanel(const std::uint16_t* rows, std::int64_t depth_blocks, std::uint16_t* panel);

}  // namespace thinkwire::worker::kernels
