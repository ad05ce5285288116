#pragma once

#include <cstdint>

#include "worker/kernels/draw.h"
#include "worker/kernels/host_device.h"

namespace thinkwire::worker::kernels {

// The phase that row l draws in, by DrawView's rule. `slot` is its slot's.
HOST_DEVICE inline step::Phase PhaseOf(const DrawView& view, std::int64_t l,
                                       const step::SamplingParams& slot) {
  const bool answers =
      view.phases[l] == step::Phase::kAnswer || view.input_ids[l] == slot.think_end_id;
  return answers ? step::Phase::kAnswer : step::Phase::kReasoning;
}

// What row l may draw, or null: any id.
HOST_DEVICE inline const step::MaskWord* MaskOf(const DrawView& view, const AdjustView& adjust,
                                                std::int64_t l) {
  if (adjust.row_masks == nullptr || adjust.row_masks[l] < 0) return nullptr;
  const std::int64_t words = (std::int64_t{view.vocab_size} + 63) / 64;
  return adjust.masks + adjust.row_masks[l] * words;
}

// Whether row l's token is the one that its slot draws last: last_drawn keeps it.
HOST_DEVICE inline bool IsLastOfSlot(const DrawView& view, std::int64_t l) {
  return l + 1 == view.num_rows || view.slots[l + 1] != view.slots[l];
}

}  // namespace thinkwire::worker::kernels
