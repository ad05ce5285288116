#pragma once

#include <cstdint>

#include "worker/kernels/weights.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// Of a head of latent attention: rows of kv_b_proj for its keys, then for its values.
struct GgufLatentWidths {
  std::int64_t keys = 0;    // P
  std::int64_t values = 0;  // V
};

// Rows and columns of kv_b_proj, [H (P + V), C], in bf16, from what newer deepseek2 files have in
// its place: of keys [H C, P], each head's turned over, and of values [H V, C]. All in any
// encoding.
HostSlice GgufLatentRows(const kernels::WeightSlice& keys, const kernels::WeightSlice& values,
                         const GgufLatentWidths& widths, const Region& region);

}  // namespace thinkwire::worker::model
