#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "worker/kernels/check.h"
#include "worker/kernels/convert.h"
#include "worker/kernels/weights.h"

// Reading the rows of a linear's parts, which lie stacked one below the other, in any encoding:
// what every backend does when it lays a weight out its own way. Pure functions, safe on any
// thread.
namespace thinkwire::worker::kernels {

struct LinearShape {
  std::int64_t out = 0;
  std::int64_t in = 0;
};

// The shape of MakeLinear's arguments. REQUIRES: they are what backend.h and weights.h say, or the
// process ends with what is wrong.
inline LinearShape CheckedLinearShape(std::span<const WeightSlice> parts,
                                      std::span<const WeightSlice> bias, LinearLayout layout) {
  Check(!parts.empty(), "a linear has at least one part");
  LinearShape shape = {.out = 0, .in = parts[0].cols};
  for (const WeightSlice& part : parts) {
    Check(part.cols == shape.in, "stacked parts share their columns");
    shape.out += part.rows;
  }
  Check(shape.out > 0 && shape.in > 0, "a linear has rows and columns");
  Check(layout != LinearLayout::kGateUp || (parts.size() == 2 && parts[0].rows == parts[1].rows),
        "a gate-up weight has two parts of one shape");
  Check(layout == LinearLayout::kQkv || bias.empty(), "only a QKV weight has a bias");
  return shape;
}

// One row of a slice.
struct StackedRow {
  const WeightSlice* part;
  std::int64_t row;  // within the part
};

// REQUIRES: 0 <= row < the rows of all parts.
inline StackedRow FindRow(std::span<const WeightSlice> parts, std::int64_t row) {
  for (const WeightSlice& part : parts) {
    if (row < part.rows) return {&part, row};
    row -= part.rows;
  }
  Check(false, "a row is within the stacked parts");
  return {};
}

// Element `col` of the row. An f16 or f32 weight loses bits on the way to bf16; a bf16 one does
// not. REQUIRES: the slice is not packed.
inline float ElementOf(const StackedRow& at, std::int64_t col) {
  const WeightSlice& slice = *at.part;
  Check(!IsPacked(slice.encoding), "an element that stands by itself");
  const char* const from = slice.row(at.row) + BytesOf(slice.encoding, col);
  if (slice.encoding == Encoding::kF32) {
    float x;
    std::memcpy(&x, from, sizeof(x));
    return x;
  }
  std::uint16_t x;
  std::memcpy(&x, from, sizeof(x));
  return slice.encoding == Encoding::kF16 ? F32FromF16(x) : F32FromBf16(x);
}

// out[c] = bf16 of the row's element c, for all its columns.
inline void ConvertRow(const StackedRow& at, std::uint16_t* out) {
  const WeightSlice& slice = *at.part;
  if (slice.encoding == Encoding::kBf16) {
    std::memcpy(out, slice.row(at.row), static_cast<std::size_t>(slice.cols) * 2);
    return;
  }
  if (slice.encoding == Encoding::kInt4) {
    for (std::int64_t c = 0; c < slice.cols; ++c) {
      out[c] = Bf16FromF32(Int4Block(slice.row(at.row), c / kInt4Columns).weight(c % kInt4Columns));
    }
    return;
  }
  for (std::int64_t c = 0; c < slice.cols; ++c) out[c] = Bf16FromF32(ElementOf(at, c));
}

}  // namespace thinkwire::worker::kernels
