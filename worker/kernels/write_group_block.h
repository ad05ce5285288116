#pragma once

#include <cstdint>
#include <span>

#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// Writes one block of an encoding of groups: q - zero times scale. REQUIRES: kInt4 or one of
// group_words.h; `q` has its columns, each below 2^bits; zero <= 2^bits; the scale has no more than
// f16's or bf16's bits; `out` has its bytes, at any alignment. Of kFp8 q are bytes of e4m3, there
// is no zero, and the scale is any. Pure.
void WriteGroupBlock(Encoding encoding, std::span<const std::uint8_t> q, std::uint32_t zero,
                     float scale, char* out);

}  // namespace thinkwire::worker::kernels
