#pragma once

#include <cstdint>

#include "worker/kernels/weights.h"

namespace thinkwire::worker::kernels {

// out[i] = weight i of a packed row in float, before it is rounded to bf16. Any alignment.
// REQUIRES: IsPacked(encoding); `elements` is whole blocks. Pure.
void UnpackRow(Encoding encoding, const void* row, std::int64_t elements, float* out);

}  // namespace thinkwire::worker::kernels
