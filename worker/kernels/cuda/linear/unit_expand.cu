#include <algorithm>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/unit_layout.h"
#include "worker/kernels/cuda/linear/unit_product.h"
#include "worker/kernels/cuda/linear/unit_values.cuh"

// Packed weights of one format to bf16, for products of so many tokens that reading them twice more
// counts for little. The mapping and the roof are int4_expand.cu's: a warp takes a unit's block of
// 8 x 128 at a time and brings it in order through shared memory.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;

struct UnitExpandInput {
  const unsigned char* tiles;
  std::int64_t units;  // of all blocks
  int blocks;          // of a row
  int rows;
  std::int64_t first_row;
};

#if __CUDA_ARCH__ >= 900

constexpr int kRowWords = kUnitColumns / 2 + 4;
constexpr int kPieces = kUnitColumns / 8;  // of 16 bytes, of a block's row

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
  std::uint32_t* const to = tile + lane / 4 * kRowWords + lane % 4;
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
__global__ __launch_bounds__(32 * kWarps) void UnitExpandKernel(UnitExpandInput input, uint4* out) {
#if __CUDA_ARCH__ >= 900
  constexpr int kUnits = Int4TileUnits(kTiling);
  __shared__ uint4 tiles[kWarps][kInt4UnitRows * kRowWords / 4];
  AllowNext();
  WaitForPrevious();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint4* const tile = tiles[threadIdx.x / 32];
  const std::int64_t row_pieces = input.blocks * kPieces;
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kWarps;
  for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
       at < input.units; at += step) {
    __syncwarp();
    MakeUnit<kFormat>(input.tiles + at * UnitBytes(kFormat), lane,
                      reinterpret_cast<std::uint32_t*>(tile));
    __syncwarp();
    const std::int64_t block = at / kUnits;  // of all tiles'
    const std::int64_t first_row = block / input.blocks * Int4TileRows(kTiling);
    const std::int64_t piece = block % input.blocks * kPieces + lane % kPieces;
#pragma unroll
    for (int g = lane / kPieces; g < kInt4UnitRows; g += 32 / kPieces) {
      const std::int64_t row = first_row + Int4UnitRow(static_cast<int>(at % kUnits), g, kTiling);
      if (row >= input.rows) break;
      out[(input.first_row + row) * row_pieces + piece] =
          tile[g * (kRowWords / 4) + lane % kPieces];
    }
  }
#endif
}

template <UnitFormat kFormat>
void LaunchOf(const UnitRows& rows, void* out, cudaStream_t stream) {
  constexpr std::int64_t kMostBlocks = 132 * 16;
  const auto blocks = static_cast<int>(rows.columns / kUnitColumns);
  const std::int64_t units =
      Int4Tiles(rows.rows, rows.tiling) * blocks * Int4TileUnits(rows.tiling);
  const std::int64_t grid = std::min(kMostBlocks, (units + kWarps - 1) / kWarps);
  const auto kernel = rows.tiling == Int4Tiling::kWide
                          ? &UnitExpandKernel<kFormat, Int4Tiling::kWide>
                          : &UnitExpandKernel<kFormat, Int4Tiling::kNarrow>;
  Launch(kernel, {.grid = dim3(static_cast<unsigned>(grid)), .block = dim3(32 * kWarps)}, stream,
         UnitExpandInput{static_cast<const unsigned char*>(rows.tiles), units, blocks,
                         static_cast<int>(rows.rows), rows.first_row},
         static_cast<uint4*>(out));
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
  }
}

}  // namespace thinkwire::worker::kernels
