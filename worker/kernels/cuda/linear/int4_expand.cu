#include <cstdint>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/await_expanded.cuh"
#include "worker/kernels/cuda/linear/expand_units.cuh"
#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/int4_product.h"
#include "worker/kernels/cuda/linear/int4_values.cuh"

// Weights of 4 bits to bf16, by expand_units.cuh.
namespace thinkwire::worker::kernels {
namespace {

#if __CUDA_ARCH__ >= 900

// `tile` holds a unit's rows: where lanes find what they store.
__device__ __forceinline__ void MakeUnit(const unsigned char* unit, int lane, std::uint32_t* tile) {
  const uint4 four = reinterpret_cast<const uint4*>(unit)[lane];
  const Int4Scale scale(reinterpret_cast<const std::uint32_t*>(unit + kInt4ValueBytes)[lane / 4]);
  const std::uint32_t words[4] = {four.x, four.y, four.z, four.w};
  std::uint32_t* const to = tile + lane / 4 * kExpandRowWords + lane % 4;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    Int4Step(words[j], scale, to[16 * j], to[16 * j + 4]);
    Int4Step(RotateRight8(words[j]), scale, to[16 * j + 8], to[16 * j + 12]);
  }
}

#endif

template <Int4Tiling kTiling>
__global__ __launch_bounds__(32 * kExpandWarps) void Int4ExpandKernel(ExpandInput input,
                                                                      uint4* out) {
#if __CUDA_ARCH__ >= 900
  AllowNext();
  WaitForPrevious();
  ExpandUnits<kInt4UnitBytes, kTiling>(
      input, out,
      [](const unsigned char* unit, int lane, std::uint32_t* tile) { MakeUnit(unit, lane, tile); });
#endif
}

}  // namespace

void LaunchInt4Expand(const void* weights, Int4Tiling tiling, std::int64_t rows,
                      std::int64_t columns, void* out, cudaStream_t stream) {
  const ExpandInput input = MakeExpandInput(weights, tiling, rows, columns, 0);
  const auto kernel = tiling == Int4Tiling::kWide ? &Int4ExpandKernel<Int4Tiling::kWide>
                                                  : &Int4ExpandKernel<Int4Tiling::kNarrow>;
  Launch(kernel, ExpandShape(input), stream, input, static_cast<uint4*>(out));
  Launch(&AwaitExpandedKernel<ExpandInput>, {.grid = dim3(1), .block = dim3(32)}, stream);
}

}  // namespace thinkwire::worker::kernels
