#pragma once

#include <cuda.h>

#include <cstdint>

#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/elected_copy.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/int4_product_shape.cuh"
#include "worker/kernels/cuda/linear/small_linear_kernel.cuh"

// The ring in shared memory that a block of int4_product_kernel.cuh reads, and the two warps that
// fill it. For code of sm_90a alone.
namespace thinkwire::worker::kernels {

struct Int4ProductInput {
  const unsigned char* weights;  // int4_layout.h
  int tokens;
  int blocks;  // of 128 columns
  int tiles;
  int groups;         // of tiles, one after another, as equal as can be
  int first_row = 0;  // of the output, which the first tile's is
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// In a register, where the compiler would look it up again at each use.
template <class T>
__device__ __forceinline__ T Kept(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

// A block's ring and how far walks over it go. Addresses are those of shared memory.
template <auto kShape>
struct Int4Ring {
  const Int4ProductInput& input;
  std::uint32_t stages;  // the first one; boxes of tokens, then the tiles' blocks
  std::uint32_t full;    // barriers, one a stage: its bytes are there
  std::uint32_t empty;   // barriers, one a stage: all warps have read it
  int chunks;

  __device__ __forceinline__ std::uint32_t Stage(const RingPlace& at) const {
    return stages + at.stage * kShape.stage_bytes();
  }
  __device__ __forceinline__ std::uint32_t Full(const RingPlace& at) const {
    return full + 8 * at.stage;
  }
  __device__ __forceinline__ std::uint32_t Empty(const RingPlace& at) const {
    return empty + 8 * at.stage;
  }
  __device__ __forceinline__ bool Has(const RingPlace& at) const { return at.group < input.groups; }
  __device__ __forceinline__ void Advance(RingPlace& at) const {
    at.Advance(chunks, kShape.stages);
  }
  // Of the stage's blocks those that the matrix has.
  __device__ __forceinline__ int Blocks(const RingPlace& at) const {
    return min(kShape.blocks, input.blocks - at.chunk * kShape.blocks);
  }
  __device__ __forceinline__ int FirstTile(int group) const {
    return static_cast<int>(static_cast<std::int64_t>(group) * input.tiles / input.groups);
  }
};

template <auto kShape>
__device__ __forceinline__ void InitInt4Barriers(std::uint32_t full, std::uint32_t empty) {
  for (int s = 0; s < kShape.stages; ++s) {
    InitBarrier(full + 8 * s, 2);
    InitBarrier(empty + 8 * s, kShape.warps());
  }
  PublishBarriers();
}

// Asks for a stage's weights, and says how many bytes they are. A whole warp, of which one lane is
// elected.
template <auto kShape>
__device__ __forceinline__ void RequestInt4Tiles(const Int4Ring<kShape>& ring, const RingPlace& at,
                                                 bool is_elected) {
  constexpr int kBlockBytes = kShape.block_bytes();
  const int bytes = ring.Blocks(at) * kBlockBytes;
  const int first = ring.FirstTile(at.group);
  const int tiles = ring.FirstTile(at.group + 1) - first;
  ElectedArriveExpecting(is_elected, ring.Full(at), tiles * bytes);
  const std::int64_t tile_blocks = ring.input.blocks;
  const unsigned char* from =
      ring.input.weights + (first * tile_blocks + at.chunk * kShape.blocks) * kBlockBytes;
  std::uint32_t to = ring.Stage(at) + kShape.token_bytes();
  for (int i = 0; i < tiles; ++i) {
    ElectedCopyBytes(is_elected, to, from, bytes, ring.Full(at), kEvictFirst);
    to += kShape.tile_bytes();
    from += tile_blocks * kBlockBytes;
  }
}

// The warp that asks for weights. It does not wait for the previous kernel, which wrote none.
template <auto kShape>
__device__ __forceinline__ void FillWithWeights(const Int4Ring<kShape>& ring, bool is_elected) {
  for (RingPlace at; ring.Has(at); ring.Advance(at)) {
    if (at.round > 0) WaitBarrier(ring.Empty(at), (at.round - 1) & 1);
    RequestInt4Tiles(ring, at, is_elected);
  }
}

// The warp that asks for tokens.
template <auto kShape>
__device__ __forceinline__ void FillWithTokens(const Int4Ring<kShape>& ring,
                                               const CUtensorMap& tokens, bool is_elected) {
  PrefetchMap(tokens);
  WaitForPrevious();
  for (RingPlace at; ring.Has(at); ring.Advance(at)) {
    if (at.round > 0) WaitBarrier(ring.Empty(at), (at.round - 1) & 1);
    ElectedArriveExpecting(is_elected, ring.Full(at), kShape.token_bytes());
    ElectedCopyBoxes(is_elected, ring.Stage(at), tokens, 0, 0, at.chunk * 2 * kShape.blocks,
                     ring.Full(at), kEvictLast);
  }
}

#endif

}  // namespace thinkwire::worker::kernels
