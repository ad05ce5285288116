#include "worker/kernels/cpu/packed_panels.h"

#include <array>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/cpu/packed_layout.h"
#include "worker/kernels/stacked_rows.h"

namespace thinkwire::worker::kernels {
namespace {

constexpr std::int64_t kCacheLine = 64;

// That all rows of panel p share and that is packed, or bf16.
Encoding EncodingOfPanel(std::span<const WeightSlice> parts, const PanelOrder& order,
                         std::int64_t p) {
  const Encoding first = FindRow(parts, order.row(p, 0)).part->encoding;
  for (int r = 1; r < kPanelRows; ++r) {
    const std::int64_t row = order.row(p, r);
    if (row >= 0 && FindRow(parts, row).part->encoding != first) return Encoding::kBf16;
  }
  return IsPacked(first) ? first : Encoding::kBf16;
}

std::int64_t PanelBytes(Encoding encoding, std::int64_t cols) {
  const std::int64_t bytes =
      IsPacked(encoding) ? PackedPanelBytes(encoding, cols) : kPanelRows * cols * 2;
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

}  // namespace

PackedPanels::PackedPanels(std::span<const WeightSlice> parts, const PanelOrder& order)
    : order_(order), cols_(parts[0].cols), panels_(static_cast<std::size_t>(order.num_panels())) {
  Check(cols_ % kPanelDepth == 0, "a packed weight's columns are whole blocks");
  for (std::size_t p = 0; p < panels_.size(); ++p) {
    panels_[p].encoding = EncodingOfPanel(parts, order, static_cast<std::int64_t>(p));
    bytes_ += static_cast<std::size_t>(PanelBytes(panels_[p].encoding, cols_));
  }
}

void PackedPanels::Fill(std::span<const WeightSlice> parts, ThreadPool& pool, Buffer memory) {
  Check(memory.bytes() >= bytes_, "memory for all panels");
  memory_ = std::move(memory);
  auto* to = static_cast<std::uint8_t*>(memory_.data());
  for (Panel& panel : panels_) {
    panel.data = to;
    to += PanelBytes(panel.encoding, cols_);
  }
  pool.For(order_.num_panels(), 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t p = begin; p < end; ++p) FillPanel(parts, p);
  });
}

void PackedPanels::FillPanel(std::span<const WeightSlice> parts, std::int64_t p) const {
  const Panel& to = panel(p);
  std::array<const std::uint8_t*, kPanelRows> packed = {};
  std::vector<std::uint16_t> rows;
  if (!IsPacked(to.encoding)) rows.resize(static_cast<std::size_t>(kPanelRows * cols_));
  for (int r = 0; r < kPanelRows; ++r) {
    const std::int64_t row = order_.row(p, r);
    if (row < 0) continue;
    const StackedRow found = FindRow(parts, row);
    if (IsPacked(to.encoding)) {
      packed[static_cast<std::size_t>(r)] =
          reinterpret_cast<const std::uint8_t*>(found.part->row(found.row));
    } else {
      ConvertRow(found, rows.data() + r * cols_);
    }
  }
  if (IsPacked(to.encoding)) return LayOutPackedPanel(to.encoding, packed.data(), cols_, to.data);
  LayOutPanel(rows.data(), cols_ / kPanelDepth, reinterpret_cast<std::uint16_t*>(to.data));
}

void LayOutPanel(const std::uint16_t* rows, std::int64_t depth_blocks, std::uint16_t* panel) {
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

}  // namespace thinkwire::worker::kernels
