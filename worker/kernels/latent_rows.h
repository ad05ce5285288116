#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "worker/kernels/check.h"
#include "worker/kernels/latents.h"
#include "worker/kernels/stacked_rows.h"

// Reading the heads' rows (Backend::MakeLatentHeads), which lie one head after the other. Pure.
namespace thinkwire::worker::kernels {

inline void CheckLatentRows(const WeightSlice& rows, const LatentShape& shape) {
  Check(rows.rows == shape.heads * (shape.plain + shape.result) && rows.cols == shape.latent,
        "the heads' rows are [H (P + U), C]");
}

// Of one head, [P, C] and [U, C].
inline WeightSlice PlainRows(const WeightSlice& rows, const LatentShape& shape, std::int64_t head) {
  WeightSlice slice = rows;
  if (rows.data != nullptr) slice.data = rows.row(head * (shape.plain + shape.result));
  slice.rows = shape.plain;
  return slice;
}
inline WeightSlice ValueRows(const WeightSlice& rows, const LatentShape& shape, std::int64_t head) {
  WeightSlice slice = rows;
  if (rows.data != nullptr) {
    slice.data = rows.row(head * (shape.plain + shape.result) + shape.plain);
  }
  slice.rows = shape.result;
  return slice;
}

// bf16 [cols, rows].
inline std::vector<std::uint16_t> Turned(const WeightSlice& slice) {
  std::vector<std::uint16_t> turned(static_cast<std::size_t>(slice.rows * slice.cols));
  std::vector<std::uint16_t> row(static_cast<std::size_t>(slice.cols));
  for (std::int64_t r = 0; r < slice.rows; ++r) {
    ConvertRow({&slice, r}, row.data());
    for (std::int64_t c = 0; c < slice.cols; ++c) {
      const std::int64_t input = slice.order == nullptr ? c : slice.order[c];
      turned[static_cast<std::size_t>(input * slice.rows + r)] = row[static_cast<std::size_t>(c)];
    }
  }
  return turned;
}

}  // namespace thinkwire::worker::kernels
