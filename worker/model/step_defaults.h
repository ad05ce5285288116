#pragma once

#include <cstdint>

#include "worker/kernels/device.h"

namespace thinkwire::worker::model {

// How much a model computes at once where nobody says it.
struct StepDefaults {
  std::int32_t max_num_seqs = 0;
  std::int32_t max_num_batched_tokens = 0;
};

// A GPU's weights are read once for a whole step, so that it gains by many sequences; a CPU is busy
// with few.
constexpr StepDefaults StepDefaultsOf(kernels::DeviceKind device) {
  if (device == kernels::DeviceKind::kCuda) {
    return {.max_num_seqs = 128, .max_num_batched_tokens = 4096};
  }
  return {.max_num_seqs = 16, .max_num_batched_tokens = 512};
}

}  // namespace thinkwire::worker::model
