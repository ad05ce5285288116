#pragma once

#include <cstdint>

#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// Bytes of a matrix of `encoding` where a GPU of compute capability 9.0 multiplies by it packed,
// for who counts memory without one: of llama.cpp's types in units (cuda/linear/unit_layout.h,
// which must agree), eight rows of 128 columns each; of the others as BytesOf. REQUIRES: whole
// units.
constexpr std::int64_t UnitBytesOf(Encoding encoding, std::int64_t elements) {
  const std::int64_t units = elements / (8 * 128);
  if (encoding == Encoding::kQ4K) return units * 608;
  if (encoding == Encoding::kQ5K) return units * 736;
  if (encoding == Encoding::kQ6K) return units * 848;
  return BytesOf(encoding, elements);
}

}  // namespace thinkwire::worker::kernels
