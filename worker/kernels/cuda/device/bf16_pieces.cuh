#pragma once

#include <cuda_bf16.h>

#include <cstdint>

// Eight bf16 values as they travel (16 bytes) and as they are computed with.
namespace thinkwire::worker::kernels {

struct Eight {
  float v[8];
};

__device__ __forceinline__ std::uint32_t PackBf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(pair);
}

__device__ __forceinline__ Eight Widen(const uint4& piece) {
  const std::uint32_t words[4] = {piece.x, piece.y, piece.z, piece.w};
  Eight eight;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    eight.v[2 * i] = __uint_as_float(words[i] << 16);
    eight.v[2 * i + 1] = __uint_as_float(words[i] & 0xFFFF0000U);
  }
  return eight;
}

__device__ __forceinline__ uint4 Narrow(const Eight& eight) {
  return make_uint4(PackBf16(eight.v[0], eight.v[1]), PackBf16(eight.v[2], eight.v[3]),
                    PackBf16(eight.v[4], eight.v[5]), PackBf16(eight.v[6], eight.v[7]));
}

}  // namespace thinkwire::worker::kernels
