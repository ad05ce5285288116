#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/shared_load.cuh"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"

// The ring in shared memory that a block of small_linear_kernel.cuh reads, and the warp that fills
// it.
namespace thinkwire::worker::kernels {

// How a product's tokens come into shared memory. (NormedInput: a token that does not come.)
struct TokenMap {
  CUtensorMap map;
  const void* row;  // of a single token that comes whole, beside the ring; null: by stages
  int bytes;        // of `row`
  int tokens;       // of a box: those there are, as rows beyond a matrix cost the copy engine more
  int copies;       // of a stage: one of all its boxes, or one a box
  int pitch;        // rows from one box's first token to the next one's
};

inline constexpr int kFirstRowBytes = 2048;

#if __CUDA_ARCH__ >= 900

// Where a walk over this block's stages is. Each stage of the ring is used once a round.
struct RingPlace {
  int chunk = 0;  // of a stage's columns, within the group's rows
  int group = static_cast<int>(blockIdx.x);
  int round = 0;
  int stage = 0;

  __device__ __forceinline__ void Advance(int chunks, int stages,
                                          int blocks = static_cast<int>(gridDim.x)) {
    if (++stage == stages) {
      stage = 0;
      ++round;
    }
    if (++chunk == chunks) {
      chunk = 0;
      group += blocks;
    }
  }
};

// In a register, where the compiler would compute it again at each use.
template <class T>
__device__ __forceinline__ T KeptInRegister(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

// A block's ring and how far walks over it go. Addresses are those of shared memory.
template <SmallLinearShape kShape>
struct Ring {
  std::uint32_t stages;     // the first one; boxes of W, then boxes of tokens
  std::uint32_t full;       // barriers, one a stage: its bytes are there
  std::uint32_t empty;      // barriers, one a stage: all warps have read it
  std::uint32_t row;        // a single token that comes whole, behind the stages
  std::uint32_t row_there;  // two barriers: its first kFirstRowBytes are there, and what follows
  int chunks;
  int groups;
  int blocks;  // that share them

  __device__ __forceinline__ std::uint32_t Stage(const RingPlace& at) const {
    return stages + at.stage * kShape.stage_bytes();
  }
  __device__ __forceinline__ std::uint32_t Full(const RingPlace& at) const {
    return full + 8 * at.stage;
  }
  __device__ __forceinline__ std::uint32_t Empty(const RingPlace& at) const {
    return empty + 8 * at.stage;
  }
};

// One thread, before the others know of the ring's barriers.
template <SmallLinearShape kShape>
__device__ __forceinline__ void InitBarriers(std::uint32_t full, std::uint32_t empty,
                                             std::uint32_t row_there) {
  for (int s = 0; s < kShape.stages; ++s) {
    InitBarrier(full + 8 * s, 1);
    InitBarrier(empty + 8 * s, kShape.warps());
  }
  for (int part = 0; part < 2; ++part) InitBarrier(row_there + 8 * part, 1);
  PublishBarriers();
}

// All warps but the producer; __syncthreads is barrier 0.
template <SmallLinearShape kShape>
__device__ __forceinline__ void SyncConsumers() {
  asm volatile("bar.sync %0, %1;" ::"n"(1), "n"(32 * kShape.producer()) : "memory");
}

// What a stage's full barrier waits for.
template <SmallLinearShape kShape, class Tokens>
__device__ __forceinline__ std::uint32_t RequestedBytes(const Tokens& tokens) {
  constexpr int kRows = kShape.boxes * kShape.row_bytes();
  if constexpr (kShape.norms) {
    return kRows;
  } else {
    return tokens.row != nullptr ? kRows : kRows + kShape.boxes * kBoxRowBytes * tokens.tokens;
  }
}

template <SmallLinearShape kShape>
__device__ __forceinline__ void RequestWeights(const Ring<kShape>& ring, const RingPlace& at,
                                               const CUtensorMap& weights, int copies) {
  const std::uint32_t to = ring.Stage(at);
  if (copies == 1) {
    return CopyBoxes(to, weights, 0, at.group * kShape.rows(), at.chunk * kShape.boxes,
                     ring.Full(at), kEvictFirst);
  }
  for (int b = 0; b < kShape.boxes; ++b) {
    CopyBox(to + b * kShape.row_bytes(), weights, (at.chunk * kShape.boxes + b) * kBoxColumns,
            at.group * kShape.rows(), ring.Full(at), kEvictFirst);
  }
}

template <SmallLinearShape kShape, class Tokens>
__device__ __forceinline__ void RequestTokens(const Ring<kShape>& ring, const RingPlace& at,
                                              const Tokens& tokens) {
  if constexpr (!kShape.norms) {
    const std::uint32_t to = ring.Stage(at) + kShape.boxes * kShape.row_bytes();
    if (kShape.single) {
      if (tokens.row != nullptr) return;
      return CopyBox(to, tokens.map, at.chunk * kShape.columns(), 0, ring.Full(at), kEvictLast);
    }
    if (tokens.copies == 1) {
      return CopyBoxes(to, tokens.map, 0, 0, at.chunk * kShape.boxes, ring.Full(at), kEvictLast);
    }
    for (int b = 0; b < kShape.boxes; ++b) {
      CopyBox(to + b * kShape.token_bytes(), tokens.map,
              (at.chunk * kShape.boxes + b) * kBoxColumns, 0, ring.Full(at), kEvictLast);
    }
  }
}

// Where shapes are for a single token: it, if it comes whole, and zeros behind it up to the last
// stage's end. What the first stages need comes first: 18 KB take 0.5 us longer than 2.
template <SmallLinearShape kShape, class Tokens>
__device__ __forceinline__ void RequestRow(const Ring<kShape>& ring, const Tokens& tokens) {
  if constexpr (kShape.single) {
    const int bytes = tokens.row != nullptr ? tokens.bytes : 0;
    const int end = bytes > 0 ? ring.chunks * kShape.columns() * 2 : 0;
    for (int at = bytes; at < end; at += 16) StoreZeros16(ring.row + at);
    for (int part = 0; part < 2; ++part) {
      const int first = min(bytes, part * kFirstRowBytes);
      const int count = part == 0 ? min(bytes, kFirstRowBytes) : bytes - first;
      ArriveExpecting(ring.row_there + 8 * part, count);
      if (count == 0) continue;
      CopyBytes(ring.row + first, static_cast<const std::byte*>(tokens.row) + first, count,
                ring.row_there + 8 * part, kEvictLast);
    }
  }
}

// The producer, one thread. Weights fill the ring once before the previous kernel has ended.
template <SmallLinearShape kShape, class Tokens>
__device__ __forceinline__ void FillRing(const Ring<kShape>& ring, const CUtensorMap& weights,
                                         const Tokens& tokens, int copies) {
  RingPlace at;
  for (; at.round == 0 && at.group < ring.groups; at.Advance(ring.chunks, kShape.stages)) {
    ArriveExpecting(ring.Full(at), RequestedBytes<kShape>(tokens));
    RequestWeights(ring, at, weights, copies);
  }
  WaitForPrevious();
  RequestRow(ring, tokens);
  RingPlace late;
  for (; late.round == 0 && late.group < ring.groups; late.Advance(ring.chunks, kShape.stages)) {
    RequestTokens(ring, late, tokens);
  }
  for (; at.group < ring.groups; at.Advance(ring.chunks, kShape.stages)) {
    WaitBarrier(ring.Empty(at), (at.round - 1) & 1);
    ArriveExpecting(ring.Full(at), RequestedBytes<kShape>(tokens));
    RequestWeights(ring, at, weights, copies);
    RequestTokens(ring, at, tokens);
  }
}

#endif

}  // namespace thinkwire::worker::kernels
