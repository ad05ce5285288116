#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "worker/kernels/buffer.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/linear/row_order.h"
#include "worker/kernels/cuda/linear/weight_upload.h"
#include "worker/kernels/stacked_rows.h"

// What the kinds of packed weights share.
namespace thinkwire::worker::kernels {

// The bias of `rows` rows as bf16 in the weight's order of rows; nothing of none.
inline Buffer UploadBias(std::span<const WeightSlice> bias, LinearLayout layout, std::int64_t rows,
                         WeightUpload& upload) {
  if (bias.empty()) return {};
  return upload.Run(rows, 1, [&](std::int64_t row, std::uint16_t* to) {
    *to = Bf16FromF32(ElementOf(FindRow(bias, SourceRow(row, layout, rows, kHeadDim)), 0));
  });
}

}  // namespace thinkwire::worker::kernels
