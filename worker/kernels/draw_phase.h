#pragma once

#include <cstdint>

#include "worker/kernels/backend.h"
#include "worker/kernels/host_device.h"

namespace thinkwire::worker::kernels {

// The phase that row l draws in, 0 reasoning or 1 answer, by SampleView's rule. `slot` is its
// slot's.
HOST_DEVICE inline int PhaseOf(const SampleView& view, std::int64_t l, const SlotSampling& slot) {
  return view.phases[l] != 0 || view.input_ids[l] == slot.think_end_id ? 1 : 0;
}

}  // namespace thinkwire::worker::kernels
