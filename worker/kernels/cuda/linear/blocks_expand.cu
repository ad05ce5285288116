#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/await_expanded.cuh"
#include "worker/kernels/cuda/linear/blocks_expand.h"
#include "worker/kernels/packed_blocks.h"

// Packed weights of any encoding to bf16: bf16(float(q) * scale + offset), in float as the CPU does
// (block_codes.h), then rounded once. For what no kernel multiplies with as it is.
//
// Mapping. A block of threads takes a row, a thread a block of its columns, which it takes apart in
// its own memory and stores 16 bytes at a time.
//
// Roof: the packed bytes read and two bytes written for each weight, at DRAM speed; it stays far
// below, as codes go through local memory.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 64;
constexpr int kPiece = 8;  // weights of 16 bytes

struct Device {};  // the instruction set of block_codes.h

// Columns that are bf16 already.
struct DenseBlock {
  static constexpr int kElements = kPiece;
  static constexpr int kBytes = 2 * kPiece;
};

__device__ __forceinline__ std::uint32_t RoundedPair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

template <class Block>
__device__ void ExpandBlock(const std::uint8_t* block, uint4* out) {
  typename CodesOf<Block>::type codes;
  Block::template Read<Device>(block, codes);
  for (int i = 0; i < Block::kElements; i += kPiece) {
    std::uint32_t pairs[kPiece / 2];
#pragma unroll
    for (int j = 0; j < kPiece / 2; ++j) {
      pairs[j] =
          RoundedPair(WeightOf<Device>(codes, i + 2 * j), WeightOf<Device>(codes, i + 2 * j + 1));
    }
    out[i / kPiece] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }
}

template <>
__device__ void ExpandBlock<DenseBlock>(const std::uint8_t* block, uint4* out) {
  *out = *reinterpret_cast<const uint4*>(block);
}

template <class Block>
__global__ __launch_bounds__(kThreads) void BlocksExpandKernel(BlockRows rows, int blocks,
                                                               uint4* out) {
  AllowNext();
  WaitForPrevious();
  const std::int64_t row = blockIdx.x;
  const auto* const from = static_cast<const std::uint8_t*>(rows.data) + row * rows.row_bytes;
  constexpr int kPieces = Block::kElements / kPiece;
  uint4* const to = out + rows.targets[row] * static_cast<std::int64_t>(blocks) * kPieces;
  for (int b = static_cast<int>(threadIdx.x); b < blocks; b += kThreads) {
    ExpandBlock<Block>(from + b * Block::kBytes, to + b * kPieces);
  }
}

template <class Block>
void LaunchOf(const BlockRows& rows, std::int64_t columns, void* out, cudaStream_t stream) {
  Launch(&BlocksExpandKernel<Block>,
         {.grid = dim3(static_cast<unsigned>(rows.count)), .block = dim3(kThreads)}, stream, rows,
         static_cast<int>(columns / Block::kElements), static_cast<uint4*>(out));
}

}  // namespace

void LaunchBlocksExpand(const BlockRows& rows, std::int64_t columns, void* out,
                        cudaStream_t stream) {
  if (rows.encoding == Encoding::kBf16) return LaunchOf<DenseBlock>(rows, columns, out, stream);
  const bool known = WithBlockType<Device>(
      rows.encoding, [&](auto block) { LaunchOf<decltype(block)>(rows, columns, out, stream); });
  Check(known, "an encoding that is packed");
}

void LaunchAwaitExpanded(cudaStream_t stream) {
  Launch(&AwaitExpandedKernel<BlockRows>, {.grid = dim3(1), .block = dim3(32)}, stream);
}

}  // namespace thinkwire::worker::kernels
