#include <algorithm>
#include <cstdint>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/await_expanded.cuh"
#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/int4_product.h"
#include "worker/kernels/cuda/linear/int4_values.cuh"

// Weights of 4 bits to bf16, for products of so many tokens that reading them twice more counts
// for little.
//
// Mapping. A warp takes a unit's block of 8 x 128 at a time, brings it in order through shared
// memory, in rows of 272 bytes so that no bank is met twice, and stores two rows of 256 bytes at
// once.
//
// Roof: half a byte read and two written for each weight, at DRAM speed.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;

struct ExpandInput {
  const unsigned char* weights;
  std::int64_t units;  // of all blocks
  int blocks;          // of a row
  int rows;
};

#if __CUDA_ARCH__ >= 900

constexpr int kRowWords = kInt4Columns / 2 + 4;
constexpr int kPieces = kInt4Columns / 8;  // of 16 bytes, of a block's row

// `tile` holds a unit's rows: where lanes find what they store.
__device__ __forceinline__ void MakeUnit(const unsigned char* unit, int lane, std::uint32_t* tile) {
  const uint4 four = reinterpret_cast<const uint4*>(unit)[lane];
  const Int4Scale scale(reinterpret_cast<const std::uint32_t*>(unit + kInt4ValueBytes)[lane / 4]);
  const std::uint32_t words[4] = {four.x, four.y, four.z, four.w};
  std::uint32_t* const to = tile + lane / 4 * kRowWords + lane % 4;
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    Int4Step(words[j], scale, to[16 * j], to[16 * j + 4]);
    Int4Step(RotateRight8(words[j]), scale, to[16 * j + 8], to[16 * j + 12]);
  }
}

#endif

template <Int4Tiling kTiling>
__global__ __launch_bounds__(32 * kWarps) void Int4ExpandKernel(ExpandInput input, uint4* out) {
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
    MakeUnit(input.weights + at * kInt4UnitBytes, lane, reinterpret_cast<std::uint32_t*>(tile));
    __syncwarp();
    const std::int64_t block = at / kUnits;  // of all tiles'
    const std::int64_t first_row = block / input.blocks * Int4TileRows(kTiling);
    const std::int64_t piece = block % input.blocks * kPieces + lane % kPieces;
#pragma unroll
    for (int g = lane / kPieces; g < kInt4UnitRows; g += 32 / kPieces) {
      const std::int64_t row = first_row + Int4UnitRow(static_cast<int>(at % kUnits), g, kTiling);
      if (row >= input.rows) break;
      out[row * row_pieces + piece] = tile[g * (kRowWords / 4) + lane % kPieces];
    }
  }
#endif
}

}  // namespace

void LaunchInt4Expand(const void* weights, Int4Tiling tiling, std::int64_t rows,
                      std::int64_t columns, void* out, cudaStream_t stream) {
  constexpr std::int64_t kMostBlocks = 132 * 16;
  const auto blocks = static_cast<int>(columns / kInt4Columns);
  const std::int64_t units = Int4Tiles(rows, tiling) * blocks * Int4TileUnits(tiling);
  const std::int64_t grid = std::min(kMostBlocks, (units + kWarps - 1) / kWarps);
  const auto kernel = tiling == Int4Tiling::kWide ? &Int4ExpandKernel<Int4Tiling::kWide>
                                                  : &Int4ExpandKernel<Int4Tiling::kNarrow>;
  Launch(kernel, {.grid = dim3(static_cast<unsigned>(grid)), .block = dim3(32 * kWarps)}, stream,
         ExpandInput{static_cast<const unsigned char*>(weights), units, blocks,
                     static_cast<int>(rows)},
         static_cast<uint4*>(out));
  Launch(&AwaitExpandedKernel<ExpandInput>, {.grid = dim3(1), .block = dim3(32)}, stream);
}

}  // namespace thinkwire::worker::kernels
