#pragma once

#include <cstddef>
#include <span>

#include "worker/kernels/weights.h"

// Weights rounded to llama.cpp's blocks (kernels/blocks_legacy.h and blocks_k.h have the formulas),
// without looking at activations.
//   Q8_0  the bytes of llama.cpp's own reference: d is the largest magnitude / 127, q the nearest,
//         halves away from zero, of the quotient by d before d becomes an f16
//   Q6_K  for each 16 weights, the scale of those tried, from -33 to 33 steps for the largest
//         magnitude, that loses least of their squares, fitted to its q by least squares; then the
//         eight bits of it that lose least
//   Q4_K  for each 32 weights likewise a scale and a min, of ranges from 13 to 17 steps; then the
//         six bits of each that lose least together
namespace thinkwire::worker::model {

// Writes `row` to `to` in blocks of `encoding`; of kBf16 and kF32 the numbers themselves.
// REQUIRES: one of kF32, kBf16, kQ8_0, kQ4K, kQ6K; whole blocks, all finite. Pure.
void RoundRow(kernels::Encoding encoding, std::span<const float> row, std::byte* to);

}  // namespace thinkwire::worker::model
