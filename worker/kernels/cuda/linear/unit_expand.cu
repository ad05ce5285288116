#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/expand_units.cuh"
#include "worker/kernels/cuda/linear/unit_layout.h"
#include "worker/kernels/cuda/linear/unit_product.h"
#include "worker/kernels/cuda/linear/unit_values.cuh"

// Packed weights of one format to bf16, by expand_units.cuh.
namespace thinkwire::worker::kernels {
namespace {

#if __CUDA_ARCH__ >= 900

// Reads a unit's block from global memory.
struct GlobalRead {
  const unsigned char* unit;
  int lane;

  template <class T>
  __device__ __forceinline__ T At(int at) const {
    return *reinterpret_cast<const T*>(unit + at);
  }
  __device__ __forceinline__ uint4 Lane16(int at) const { return At<uint4>(at + 16 * lane); }
  __device__ __forceinline__ uint2 Lane8(int at) const { return At<uint2>(at + 8 * lane); }
  __device__ __forceinline__ std::uint32_t Lane4(int at) const {
    return At<std::uint32_t>(at + 4 * lane);
  }
  __device__ __forceinline__ uint2 Row8(int at) const { return At<uint2>(at + lane / 4 * 8); }
  __device__ __forceinline__ std::uint32_t Row4(int at) const {
    return At<std::uint32_t>(at + lane / 4 * 4);
  }
  __device__ __forceinline__ std::uint32_t Row2(int at) const {
    return At<std::uint16_t>(at + lane / 4 * 2);
  }
};

// `tile` holds a unit's rows: where lanes find what they store.
template <UnitFormat kFormat>
__device__ __forceinline__ void MakeUnit(const unsigned char* unit, int lane, std::uint32_t* tile) {
  UnitLane<kFormat> words;
  words.Load(GlobalRead{unit, lane});
  std::uint32_t* const to = tile + lane / 4 * kExpandRowWords + lane % 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    words.Make(half, [&](int j, std::uint32_t first, std::uint32_t second) {
      to[8 * (4 * half + j)] = first;
      to[8 * (4 * half + j) + 4] = second;
    });
  }
}

#endif

template <UnitFormat kFormat, Int4Tiling kTiling>
__global__ __launch_bounds__(32 * kExpandWarps) void UnitExpandKernel(ExpandInput input,
                                                                      uint4* out) {
#if __CUDA_ARCH__ >= 900
  AllowNext();
  WaitForPrevious();
  ExpandUnits<UnitBytes(kFormat), kTiling>(
      input, out, [](const unsigned char* unit, int lane, std::uint32_t* tile) {
        MakeUnit<kFormat>(unit, lane, tile);
      });
#endif
}

template <UnitFormat kFormat>
void LaunchOf(const UnitRows& rows, void* out, cudaStream_t stream) {
  const ExpandInput input =
      MakeExpandInput(rows.tiles, rows.tiling, rows.rows, rows.columns, rows.first_row);
  const auto kernel = rows.tiling == Int4Tiling::kWide
                          ? &UnitExpandKernel<kFormat, Int4Tiling::kWide>
                          : &UnitExpandKernel<kFormat, Int4Tiling::kNarrow>;
  Launch(kernel, ExpandShape(input), stream, input, static_cast<uint4*>(out));
}

}  // namespace

void LaunchUnitExpand(const UnitRows& rows, void* out, cudaStream_t stream) {
  Check(rows.columns % kUnitColumns == 0, "rows of W are whole blocks of 128 columns");
  switch (rows.format) {
    case UnitFormat::kQ4K:
      return LaunchOf<UnitFormat::kQ4K>(rows, out, stream);
    case UnitFormat::kQ5K:
      return LaunchOf<UnitFormat::kQ5K>(rows, out, stream);
    case UnitFormat::kQ6K:
      return LaunchOf<UnitFormat::kQ6K>(rows, out, stream);
    case UnitFormat::kQ8_0:
      return LaunchOf<UnitFormat::kQ8_0>(rows, out, stream);
    case UnitFormat::kFp8:
      return LaunchOf<UnitFormat::kFp8>(rows, out, stream);
  }
}

}  // namespace thinkwire::worker::kernels
