#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/cluster.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/warpgroup.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/tile_linear_shape.cuh"

// The kernel that tile_linear.cu explains: one warp that fills a ring of stages, and groups of four
// warps that multiply what is in them.
namespace thinkwire::worker::kernels {

struct TileInput {
  int columns;
  int row_tiles;
  int row_clusters;  // of the grid
  int token_tiles;
  int tile_tokens;
  bool weights_once;  // no other cluster reads them
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where a walk over this block's stages is. Each stage of the ring is used once a round.
struct TilePlace {
  int row_tile;
  int chunk = 0;  // of a stage's columns, within the tile
  int round = 0;
  int stage = 0;

  __device__ __forceinline__ void Advance(int chunks, int stages, int row_clusters) {
    if (++stage == stages) {
      stage = 0;
      ++round;
    }
    if (++chunk == chunks) {
      chunk = 0;
      row_tile += row_clusters;
    }
  }
};

// A block's part of the product, and its ring. Addresses are those of shared memory.
template <TileShape kShape>
struct TileBlock {
  const TileInput& input;
  std::uint32_t stages;  // the first one; boxes of W, then boxes of tokens
  std::uint32_t full;    // barriers, one a stage: its bytes are there
  std::uint32_t empty;   // barriers, one a stage: all warps of all sharers have read it
  int chunks;
  int first_row_tile;
  int first_token;
  int end_token;
  unsigned rank;  // in the cluster

  __device__ __forceinline__ TilePlace Begin() const { return {.row_tile = first_row_tile}; }
  __device__ __forceinline__ bool Has(const TilePlace& at) const {
    return at.row_tile < input.row_tiles;
  }
  __device__ __forceinline__ void Advance(TilePlace& at) const {
    at.Advance(chunks, kShape.stages, input.row_clusters);
  }
  __device__ __forceinline__ std::uint32_t Stage(const TilePlace& at) const {
    return stages + at.stage * kShape.stage_bytes();
  }
  __device__ __forceinline__ std::uint32_t Tokens(const TilePlace& at) const {
    return Stage(at) + kShape.boxes * kShape.row_bytes();
  }
  __device__ __forceinline__ std::uint32_t Full(const TilePlace& at) const {
    return full + 8 * at.stage;
  }
  __device__ __forceinline__ std::uint32_t Empty(int stage) const { return empty + 8 * stage; }
};

template <TileShape kShape>
__device__ __forceinline__ TileBlock<kShape> ThisBlock(const TileInput& input, int tokens,
                                                       std::uint32_t shared, std::uint32_t full,
                                                       std::uint32_t empty) {
  const unsigned rank = kShape.sharers > 1 ? ClusterRank() : 0;
  const int token_tile = static_cast<int>(blockIdx.x) % input.token_tiles;
  const int first_token = token_tile * input.tile_tokens;
  return {.input = input,
          .stages = (shared + kBoxAlignment - 1) & ~(kBoxAlignment - 1U),
          .full = full,
          .empty = empty,
          .chunks = (input.columns + kShape.columns() - 1) / kShape.columns(),
          .first_row_tile = static_cast<int>(blockIdx.x) / input.token_tiles,
          .first_token = first_token,
          .end_token = min(tokens, first_token + input.tile_tokens),
          .rank = rank};
}

template <TileShape kShape>
__device__ __forceinline__ void RequestRows(const TileBlock<kShape>& block, const TilePlace& at,
                                            const CUtensorMap& weights) {
  const std::uint64_t policy = block.input.weights_once ? kEvictFirst : kEvictNormal;
#pragma unroll
  for (int b = 0; b < kShape.boxes; ++b) {
    const std::uint32_t to = block.Stage(at) + b * kShape.row_bytes();
    const int column = (at.chunk * kShape.boxes + b) * kBoxColumns;
    const int row = at.row_tile * kShape.rows;
    if constexpr (kShape.sharers == 1) {
      CopyBox(to, weights, column, row, block.Full(at), policy);
    } else if (b % kShape.sharers == block.rank) {
      constexpr auto kAll = static_cast<std::uint16_t>((1 << kShape.sharers) - 1);
      CopyBoxToBlocks(to, weights, column, row, block.Full(at), kAll, policy);
    }
  }
}

template <TileShape kShape>
__device__ __forceinline__ void RequestTileTokens(const TileBlock<kShape>& block,
                                                  const TilePlace& at, const CUtensorMap& tokens) {
#pragma unroll
  for (int b = 0; b < kShape.boxes; ++b) {
    CopyBox(block.Tokens(at) + b * kShape.token_bytes(), tokens,
            (at.chunk * kShape.boxes + b) * kBoxColumns, block.first_token, block.Full(at),
            kEvictLast);
  }
}

// The producer, one thread. Weights fill the ring once before the previous kernel has ended.
template <TileShape kShape>
__device__ __forceinline__ void FillTileRing(const TileBlock<kShape>& block,
                                             const CUtensorMap& weights,
                                             const CUtensorMap& tokens) {
  const std::uint32_t bytes =
      kShape.boxes * (kShape.row_bytes() + kBoxRowBytes * block.input.tile_tokens);
  TilePlace at = block.Begin();
  for (; at.round == 0 && block.Has(at); block.Advance(at)) {
    ArriveExpecting(block.Full(at), bytes);
    RequestRows(block, at, weights);
  }
  WaitForPrevious();
  for (TilePlace late = block.Begin(); late.round == 0 && block.Has(late); block.Advance(late)) {
    RequestTileTokens(block, late, tokens);
  }
  for (; block.Has(at); block.Advance(at)) {
    WaitBarrier(block.Empty(at.stage), (at.round - 1) & 1);
    ArriveExpecting(block.Full(at), bytes);
    RequestRows(block, at, weights);
    RequestTileTokens(block, at, tokens);
  }
}

// All lanes of a warp that multiplies: it has read the stage.
template <TileShape kShape>
__device__ __forceinline__ void FreeStage(const TileBlock<kShape>& block, int stage, int lane) {
  if constexpr (kShape.sharers == 1) {
    if (lane == 0) Arrive(block.Empty(stage));
  } else {
    if (lane < kShape.sharers) ArriveAtBlock(block.Empty(stage), lane);
  }
}

// Adds all of K to the sums of `group`'s 64 tokens by the rows of at.row_tile. A stage is free once
// the next one's steps have been asked for and its own are over.
template <TileShape kShape>
__device__ __forceinline__ void AddTile(const TileBlock<kShape>& block, TilePlace& at, int group,
                                        int lane, float (&sums)[kShape.rows / 2]) {
  constexpr int kSteps = kBoxColumns / 16;
  int before = 0;
  for (int chunk = 0; chunk < block.chunks; ++chunk) {
    WaitBarrier(block.Full(at), at.round & 1);
    BeginSteps();
#pragma unroll
    for (int b = 0; b < kShape.boxes; ++b) {
      const std::uint64_t tokens = SwizzledMatrix(block.Tokens(at) + b * kShape.token_bytes() +
                                                  group * kWarpgroupTokens * kBoxRowBytes);
      const std::uint64_t rows = SwizzledMatrix(block.Stage(at) + b * kShape.row_bytes());
#pragma unroll
      for (int j = 0; j < kSteps; ++j)
        WarpgroupMma<kShape.rows>(sums, tokens + 2 * j, rows + 2 * j);
    }
    CommitSteps();
    AwaitSteps<1>();
    if (chunk > 0) FreeStage(block, before, lane);
    before = at.stage;
    block.Advance(at);
  }
  AwaitSteps<0>();
  FreeStage(block, before, lane);
}

// The lane's sums of one token (the first or the second of its two) to the output.
template <TileShape kShape, class Output>
__device__ __forceinline__ void StoreToken(const TileBlock<kShape>& block, int row, int token,
                                           int second, const float (&sums)[kShape.rows / 2],
                                           const Output& output, const TokenPlace* places) {
  if (token >= block.end_token) return;
  const TokenPlace& place = places[Output::kPlaces ? token - block.first_token : 0];
  const float* const d = sums + 2 * second;
#pragma unroll
  for (int i = 0; i < kShape.rows / 16; ++i) {
    output.Four(row + 16 * i, token, make_float2(d[8 * i], d[8 * i + 1]),
                make_float2(d[8 * i + 4], d[8 * i + 5]), place);
  }
  if constexpr (kShape.rows % 16 != 0) {
    constexpr int kLast = kShape.rows / 16;
    output.Two(row + 16 * kLast, token, make_float2(d[8 * kLast], d[8 * kLast + 1]));
  }
}

template <TileShape kShape, class Output>
__device__ __forceinline__ void MultiplyTiles(const TileBlock<kShape>& block, int warp, int lane,
                                              const Output& output, const TokenPlace* places) {
  const int group = warp / 4;
  const int token = block.first_token + group * kWarpgroupTokens + warp % 4 * 16 + lane / 4;
  for (TilePlace at = block.Begin(); block.Has(at);) {
    float sums[kShape.rows / 2] = {};
    PinSums(sums);
    const int row = at.row_tile * kShape.rows + lane % 4 * 2;
    AddTile(block, at, group, lane, sums);
    PinSums(sums);
    StoreToken(block, row, token, 0, sums, output, places);
    StoreToken(block, row, token + 8, 1, sums, output, places);
  }
}

// One thread, before the others know of the ring's barriers.
template <TileShape kShape>
__device__ __forceinline__ void InitTileBarriers(std::uint32_t full, std::uint32_t empty) {
  for (int s = 0; s < kShape.stages; ++s) {
    InitBarrier(full + 8 * s, 1);
    InitBarrier(empty + 8 * s, kShape.sharers * kShape.warps());
  }
  PublishBarriers();
}

// No block of a cluster writes to another that has not begun or has ended.
template <TileShape kShape>
__device__ __forceinline__ void SyncSharers() {
  if constexpr (kShape.sharers > 1) {
    ClusterSync();
  } else {
    __syncthreads();
  }
}

#endif

// In shape kTile of kTileShapes: nvcc cannot name a kernel whose template argument is a struct.
template <std::size_t kTile, class Output>
__global__ __launch_bounds__(kTileShapes[kTile].threads(),
                             1) void TileLinearKernel(const __grid_constant__ CUtensorMap weights,
                                                      const __grid_constant__ CUtensorMap tokens,
                                                      const __grid_constant__ TileInput input,
                                                      const __grid_constant__ Output output) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr TileShape kShape = kTileShapes[kTile];
  extern __shared__ unsigned char shared[];
  __shared__ std::uint64_t full_barriers[kShape.stages];
  __shared__ std::uint64_t empty_barriers[kShape.stages];
  __shared__ TokenPlace places[Output::kPlaces ? kShape.tokens() : 1];
  const std::uint32_t full = SharedAddress(full_barriers);
  const std::uint32_t empty = SharedAddress(empty_barriers);
  if (threadIdx.x == 0) InitTileBarriers<kShape>(full, empty);
  SyncSharers<kShape>();
  AllowNext();

  const TileBlock<kShape> block =
      ThisBlock<kShape>(input, output.tokens, SharedAddress(shared), full, empty);
  // From lane 0, so that the compiler knows it to be the same in all lanes.
  const int warp = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (warp == kShape.warps()) {
    if (lane == 0) FillTileRing(block, weights, tokens);
    __syncwarp();
  } else {
    WaitForPrevious();
    if constexpr (Output::kPlaces) {
      for (int t = block.first_token + static_cast<int>(threadIdx.x); t < block.end_token;
           t += 32 * kShape.warps()) {
        places[t - block.first_token] = PlaceOf(output.target, t);
      }
      asm volatile("bar.sync 1, %0;" ::"n"(32 * kShape.warps()) : "memory");
    }
    MultiplyTiles(block, warp, lane, output, places);
  }
  if constexpr (kShape.sharers > 1) ClusterSync();
#else
  __trap();
#endif
}

}  // namespace thinkwire::worker::kernels
