#include <algorithm>
#include <cstdint>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/int4_product.h"
#include "worker/kernels/cuda/linear/int4_values.cuh"

// Weights of 4 bits to bf16, for products of so many tokens that reading them twice more counts
// for little.
//
// Mapping. A warp takes a strip's block of 16 x 128 at a time, brings it in order through shared
// memory, in rows of 272 bytes so that no bank is met twice, and stores two rows of 256 bytes at
// once.
//
// Roof: half a byte read and two written for each weight, at DRAM speed.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;

__global__ __launch_bounds__(32 * kWarps) void Int4ExpandKernel(const unsigned char* weights,
                                                                std::int64_t num_strips,
                                                                int blocks_a_row, int rows,
                                                                uint4* out) {
#if __CUDA_ARCH__ >= 900
  constexpr int kRowWords = kInt4Columns / 2 + 4;
  __shared__ uint4 tiles[kWarps][kInt4StripRows * kRowWords / 4];
  AllowNext();
  WaitForPrevious();
  const int lane = static_cast<int>(threadIdx.x) % 32;
  uint4* const tile = tiles[threadIdx.x / 32];
  auto* const words = reinterpret_cast<std::uint32_t*>(tile);
  const std::int64_t step = static_cast<std::int64_t>(gridDim.x) * kWarps;
  for (std::int64_t at = static_cast<std::int64_t>(blockIdx.x) * kWarps + threadIdx.x / 32;
       at < num_strips; at += step) {
    const unsigned char* const from = weights + at * kInt4StripBytes;
    const auto* const values = reinterpret_cast<const uint4*>(from);
    const uint2 scales = reinterpret_cast<const uint2*>(from + kInt4ValueBytes)[lane / 4];
    const uint4 halves[2] = {values[lane], values[32 + lane]};
    __syncwarp();
#pragma unroll
    for (int j = 0; j < kInt4Columns / 16; ++j) {
      const uint4& four = halves[j / 4];
      const std::uint32_t word =
          j % 4 == 0 ? four.x : (j % 4 == 1 ? four.y : (j % 4 == 2 ? four.z : four.w));
      std::uint32_t a[4];
      Int4Fragment(word, Int4Scale(scales.x), Int4Scale(scales.y), a);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        words[(lane / 4 + 8 * (i & 1)) * kRowWords + 8 * j + lane % 4 + 4 * (i >> 1)] = a[i];
      }
    }
    __syncwarp();
    const std::int64_t block = at / kInt4TileStrips;  // of all tiles'
    const std::int64_t first_row =
        block / blocks_a_row * kInt4TileRows + at % kInt4TileStrips * kInt4StripRows;
    const std::int64_t piece = block % blocks_a_row * (kInt4Columns / 8) + lane % 16;
#pragma unroll
    for (int r = 0; r < kInt4StripRows; r += 2) {
      const std::int64_t row = first_row + r + lane / 16;
      if (row >= rows) break;
      out[row * blocks_a_row * (kInt4Columns / 8) + piece] =
          tile[(r + lane / 16) * (kRowWords / 4) + lane % 16];
    }
  }
#endif
}

}  // namespace

void LaunchInt4Expand(const void* weights, std::int64_t rows, std::int64_t columns, void* out,
                      cudaStream_t stream) {
  constexpr std::int64_t kMostBlocks = 132 * 16;
  const auto blocks_a_row = static_cast<int>(columns / kInt4Columns);
  const std::int64_t strips = Int4Tiles(rows) * blocks_a_row * kInt4TileStrips;
  const std::int64_t grid = std::min(kMostBlocks, (strips + kWarps - 1) / kWarps);
  Launch(&Int4ExpandKernel, {.grid = dim3(static_cast<unsigned>(grid)), .block = dim3(32 * kWarps)},
         stream, static_cast<const unsigned char*>(weights), strips, blocks_a_row,
         static_cast<int>(rows), static_cast<uint4*>(out));
}

}  // namespace thinkwire::worker::kernels
