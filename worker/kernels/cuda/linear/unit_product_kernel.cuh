#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/linear/int4_product_kernel.cuh"
#include "worker/kernels/cuda/linear/unit_product_shape.cuh"
#include "worker/kernels/cuda/linear/unit_values.cuh"

// The kernel that unit_product.cuh explains: that of int4_product_kernel.cuh with other units. For
// code of sm_90a alone.
namespace thinkwire::worker::kernels {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where a lane finds what is its own, and its row's, of the first block of a stage.
struct UnitPlace {
  std::uint32_t units;
  std::uint32_t lane;

  __device__ __forceinline__ UnitPlace(std::uint32_t units, int lane) : units(units), lane(lane) {}
  __device__ __forceinline__ void Advance(int bytes) { units += bytes; }
};

// Reads a unit's block from shared memory.
struct UnitRead {
  std::uint32_t unit;
  std::uint32_t lane;

  __device__ __forceinline__ uint4 Lane16(int at) const {
    return LoadShared16(unit + 16 * lane + at);
  }
  __device__ __forceinline__ uint2 Lane8(int at) const { return LoadShared8(unit + 8 * lane + at); }
  __device__ __forceinline__ std::uint32_t Lane4(int at) const {
    return LoadShared4(unit + 4 * lane + at);
  }
  __device__ __forceinline__ uint2 Row8(int at) const {
    return LoadShared8(unit + lane / 4 * 8 + at);
  }
  __device__ __forceinline__ std::uint32_t Row4(int at) const {
    return LoadShared4(unit + lane / 4 * 4 + at);
  }
  __device__ __forceinline__ std::uint32_t Row2(int at) const {
    std::uint32_t value;
    asm volatile("{.reg .b16 h; ld.shared.b16 h, [%1]; cvt.u32.u16 %0, h;}"
                 : "=r"(value)
                 : "r"(unit + lane / 4 * 2 + at)
                 : "memory");
    return value;
  }
};

// What a lane multiplies of a block (Int4Words).
template <UnitFormat kFormat, int kUnits>
struct UnitWords {
  using Place = UnitPlace;
  UnitLane<kFormat> lanes[kUnits];

  __device__ __forceinline__ void Load(const UnitPlace& place, int offset) {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      lanes[u].Load(UnitRead{place.units + offset + u * UnitBytes(kFormat), place.lane});
    }
  }
  __device__ __forceinline__ void Make(int half, Int4Half& weights) const {
#pragma unroll
    for (int u = 0; u < kUnits; ++u) {
      lanes[u].Make(half, [&](int j, std::uint32_t first, std::uint32_t second) {
        weights[j][u] = first;
        weights[j][u + 2] = second;
      });
    }
  }
};

#endif

// In the shape of choice kChoice.
template <UnitFormat kFormat, std::size_t kChoice, class Output>
__global__ __launch_bounds__(UnitShapeOf(kFormat, kChoice).threads(), 1) void UnitProductKernel(
    const __grid_constant__ CUtensorMap tokens, const __grid_constant__ Int4ProductInput input,
    const __grid_constant__ Output output) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr UnitShape kShape = UnitShapeOf(kFormat, kChoice);
  RunProduct<kShape, UnitWords<kFormat, kShape.units()>>(tokens, input, output);
#else
  __trap();
#endif
}

}  // namespace thinkwire::worker::kernels
