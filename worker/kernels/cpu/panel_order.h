#pragma once

#include <cstdint>

#include "worker/kernels/cpu/row_kernels.h"
#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// Which of a matrix's rows, over all its parts, each panel of eight holds.
//   kPlain, kQkv: panel p holds rows 8p .. 8p + 7.
//   kGateUp: panel 2p holds the gate's rows 8p .. 8p + 7, panel 2p + 1 the same of up.
struct PanelOrder {
  LinearLayout layout = LinearLayout::kPlain;
  std::int64_t out_features = 0;

  std::int64_t num_panels() const {
    const std::int64_t parts = layout == LinearLayout::kGateUp ? 2 : 1;
    return parts * ((out_features / parts + kPanelRows - 1) / kPanelRows);
  }
  // That panel p's row r holds; -1: none, it is 0.
  std::int64_t row(std::int64_t p, int r) const {
    if (layout != LinearLayout::kGateUp) {
      const std::int64_t row = p * kPanelRows + r;
      return row < out_features ? row : -1;
    }
    const std::int64_t row = p / 2 * kPanelRows + r;
    return row < out_features / 2 ? row + p % 2 * (out_features / 2) : -1;
  }
};

}  // namespace thinkwire::worker::kernels
