#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/shared_load.cuh"
#include "worker/kernels/cuda/device/warpgroup.cuh"
#include "worker/kernels/cuda/linear/int4_product_shape.cuh"
#include "worker/kernels/cuda/linear/int4_values.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/small_linear_kernel.cuh"

// The kernel that int4_product.cu explains: one warp that fills a ring of stages, and warps that
// multiply what is in them. For code of sm_90a alone.
namespace thinkwire::worker::kernels {

struct Int4ProductInput {
  const unsigned char* weights;  // int4_layout.h
  int tokens;
  int blocks;  // of 128 columns
  int tiles;
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// In a register, where the compiler would look it up again at each use.
template <class T>
__device__ __forceinline__ T Kept(T value) {
  asm volatile("" : "+r"(value));
  return value;
}

// A block's ring and how far walks over it go. Addresses are those of shared memory.
template <Int4Shape kShape>
struct Int4Ring {
  const Int4ProductInput& input;
  std::uint32_t stages;  // the first one; boxes of tokens, then the tiles' blocks
  std::uint32_t full;    // barriers, one a stage: its bytes are there
  std::uint32_t empty;   // barriers, one a stage: all warps have read it
  int chunks;
  int groups;

  __device__ __forceinline__ std::uint32_t Stage(const RingPlace& at) const {
    return stages + at.stage * kShape.stage_bytes();
  }
  __device__ __forceinline__ std::uint32_t Full(const RingPlace& at) const {
    return full + 8 * at.stage;
  }
  __device__ __forceinline__ std::uint32_t Empty(const RingPlace& at) const {
    return empty + 8 * at.stage;
  }
  __device__ __forceinline__ bool Has(const RingPlace& at) const { return at.group < groups; }
  __device__ __forceinline__ void Advance(RingPlace& at) const {
    at.Advance(chunks, kShape.stages);
  }
  // Of the stage's blocks those that the matrix has.
  __device__ __forceinline__ int Blocks(const RingPlace& at) const {
    return min(kShape.blocks, input.blocks - at.chunk * kShape.blocks);
  }
  __device__ __forceinline__ int Tiles(const RingPlace& at) const {
    return min(kShape.tiles, input.tiles - at.group * kShape.tiles);
  }
};

template <Int4Shape kShape>
__device__ __forceinline__ void InitInt4Barriers(std::uint32_t full, std::uint32_t empty) {
  for (int s = 0; s < kShape.stages; ++s) {
    InitBarrier(full + 8 * s, 1);
    InitBarrier(empty + 8 * s, kShape.warps());
  }
  PublishBarriers();
}

// Says what the stage waits for, and asks for its weights.
template <Int4Shape kShape>
__device__ __forceinline__ void RequestInt4Tiles(const Int4Ring<kShape>& ring,
                                                 const RingPlace& at) {
  const int bytes = ring.Blocks(at) * kInt4BlockBytes;
  const int tiles = ring.Tiles(at);
  ArriveExpecting(ring.Full(at), tiles * bytes + kShape.token_bytes());
  const std::int64_t tile = static_cast<std::int64_t>(at.group) * kShape.tiles;
  const unsigned char* from =
      ring.input.weights + (tile * ring.input.blocks + at.chunk * kShape.blocks) * kInt4BlockBytes;
  std::uint32_t to = ring.Stage(at) + kShape.token_bytes();
  for (int i = 0; i < tiles; ++i) {
    CopyBytes(to, from, bytes, ring.Full(at), kEvictFirst);
    to += kShape.tile_bytes();
    from += static_cast<std::int64_t>(ring.input.blocks) * kInt4BlockBytes;
  }
}

template <Int4Shape kShape>
__device__ __forceinline__ void RequestInt4Tokens(const Int4Ring<kShape>& ring, const RingPlace& at,
                                                  const CUtensorMap& tokens) {
  CopyBoxes(ring.Stage(at), tokens, 0, 0, at.chunk * 2 * kShape.blocks, ring.Full(at), kEvictLast);
}

// The producer, one thread. Weights fill the ring once before the previous kernel has ended.
template <Int4Shape kShape>
__device__ __forceinline__ void FillInt4Ring(const Int4Ring<kShape>& ring,
                                             const CUtensorMap& tokens) {
  RingPlace at;
  for (; at.round == 0 && ring.Has(at); ring.Advance(at)) RequestInt4Tiles(ring, at);
  WaitForPrevious();
  RingPlace late;
  for (; late.round == 0 && ring.Has(late); ring.Advance(late)) {
    RequestInt4Tokens(ring, late, tokens);
  }
  for (; ring.Has(at); ring.Advance(at)) {
    WaitBarrier(ring.Empty(at), (at.round - 1) & 1);
    RequestInt4Tiles(ring, at);
    RequestInt4Tokens(ring, at, tokens);
  }
}

// What a lane multiplies of a block: a word a k16 step, and the scales of its two rows.
struct Int4Words {
  uint4 halves[2];
  Int4Scale first;   // of row g
  Int4Scale second;  // of row g + 8

  // `block` is where the warp's strip has it.
  __device__ __forceinline__ void Load(std::uint32_t block, int lane) {
    const uint2 scales = LoadShared8(block + kInt4ValueBytes + 8 * (lane / 4));
    halves[0] = LoadShared16(block + 16 * lane);
    halves[1] = LoadShared16(block + 16 * lane + kInt4ValueBytes / 2);
    first = Int4Scale(scales.x);
    second = Int4Scale(scales.y);
  }
};

// Weights of half a block's steps, as the tensor core takes them from a lane's registers.
inline constexpr int kInt4HalfSteps = kInt4Columns / 32;
using Int4Half = std::uint32_t[kInt4HalfSteps][4];

__device__ __forceinline__ void MakeWeights(const Int4Words& words, int half, Int4Half& weights) {
  const uint4& four = words.halves[half];
  Int4Fragment(four.x, words.first, words.second, weights[0]);
  Int4Fragment(four.y, words.first, words.second, weights[1]);
  Int4Fragment(four.z, words.first, words.second, weights[2]);
  Int4Fragment(four.w, words.first, words.second, weights[3]);
}

// Keeps the compiler from using the registers otherwise until here.
__device__ __forceinline__ void PinWeights(Int4Half& weights) {
#pragma unroll
  for (int i = 0; i < kInt4HalfSteps; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) asm volatile("" : "+r"(weights[i][j])::"memory");
  }
}

// Asks for half a block's steps: `box` has the 64 columns of the tokens.
template <Int4Shape kShape>
__device__ __forceinline__ void AddHalf(std::uint32_t box, const Int4Half& weights,
                                        float (&sums)[kShape.tokens() / 2]) {
  const std::uint64_t tokens = SwizzledMatrix(box);
  BeginSteps();
#pragma unroll
  for (int j = 0; j < kInt4HalfSteps; ++j) {
    WarpgroupMmaRows<kShape.tokens()>(sums, weights[j], tokens + 2 * j);
  }
  CommitSteps();
}

// The sums of a group's rows to the output.
template <Int4Shape kShape, class Output>
__device__ __forceinline__ void StoreInt4Rows(int row, int lane,
                                              const float (&sums)[kShape.tokens() / 2],
                                              const Output& output, const TokenPlace* places) {
#pragma unroll
  for (int n = 0; n < kShape.token_tiles; ++n) {
    const float d[4] = {sums[4 * n], sums[4 * n + 1], sums[4 * n + 2], sums[4 * n + 3]};
    output(row + lane / 4, 8 * n + lane % 4 * 2, d, places);
  }
}

// A warp that multiplies: its strip of all the block's groups by all tokens. While the tensor core
// has one half of a block, the warp makes the weights of the next half.
template <Int4Shape kShape, class Output>
__device__ __forceinline__ void MultiplyInt4(const Int4Ring<kShape>& ring, int warp, int lane,
                                             const Output& output, const TokenPlace* places) {
  const std::uint32_t strip = kShape.token_bytes() + warp / kInt4TileStrips * kShape.tile_bytes() +
                              warp % kInt4TileStrips * kInt4StripBytes;
  float sums[kShape.tokens() / 2] = {};
  Int4Half weights[2];
  Int4Words words;
  RingPlace at;
  if (!ring.Has(at)) return;
  WaitBarrier(ring.Full(at), 0);
  words.Load(ring.Stage(at) + strip, lane);
  MakeWeights(words, 0, weights[0]);
  PinSums(sums);
  while (ring.Has(at)) {
    RingPlace after = at;
    ring.Advance(after);
    const std::uint32_t stage = ring.Stage(at);
    const int blocks = Kept(ring.Blocks(at));
    const bool goes_on = ring.Has(after);
#pragma unroll 1
    for (int b = 0; b < blocks; ++b) {
      const std::uint32_t boxes = stage + 2 * b * kShape.box_bytes();
      AddHalf<kShape>(boxes, weights[0], sums);
      MakeWeights(words, 1, weights[1]);
      AddHalf<kShape>(boxes + kShape.box_bytes(), weights[1], sums);
      std::uint32_t next = stage + strip + min(b + 1, blocks - 1) * kInt4BlockBytes;
      if (b + 1 == blocks && goes_on) {
        WaitBarrier(ring.Full(after), after.round & 1);
        next = ring.Stage(after) + strip;
      }
      words.Load(next, lane);  // after the very last block what is not used
      AwaitSteps<1>();
      PinWeights(weights[0]);
      MakeWeights(words, 0, weights[0]);
      AwaitSteps<0>();
      PinWeights(weights[1]);
    }
    if (lane == 0) Arrive(ring.Empty(at));
    if (after.group != at.group) {
      PinSums(sums);
      StoreInt4Rows<kShape>((at.group * kShape.warps() + warp) * kInt4StripRows, lane, sums, output,
                            places);
#pragma unroll
      for (float& sum : sums) sum = 0.0F;
      PinSums(sums);
    }
    at = after;
  }
}

// Waits for the other four warps' sums, or says that these have theirs where they look.
__device__ __forceinline__ void TakeTurn(int turn) {
  asm volatile("bar.sync %0, 256;" ::"r"(2 + turn) : "memory");
}
__device__ __forceinline__ void PassTurn(int turn) {
  asm volatile("bar.arrive %0, 256;" ::"r"(3 - turn) : "memory");
}

// A lane's sums, where the lane that takes its turn finds them.
template <int kCount>
__device__ __forceinline__ void KeepSums(std::uint32_t place, const float (&sums)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    StorePiece(place + i * 512,
               make_uint4(__float_as_uint(sums[i]), __float_as_uint(sums[i + 1]),
                          __float_as_uint(sums[i + 2]), __float_as_uint(sums[i + 3])));
  }
}
template <int kCount>
__device__ __forceinline__ void TakeSums(std::uint32_t place, float (&sums)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; i += 4) {
    const uint4 four = LoadShared16(place + i * 512);
    sums[i] = __uint_as_float(four.x);
    sums[i + 1] = __uint_as_float(four.y);
    sums[i + 2] = __uint_as_float(four.z);
    sums[i + 3] = __uint_as_float(four.w);
  }
}

// MultiplyInt4 in turns: warps 0 to 3 multiply the even blocks of the walk, 4 to 7 the odd ones.
// `place` is where the lane's sums change hands.
template <Int4Shape kShape, class Output>
__device__ __forceinline__ void MultiplyInt4InTurns(const Int4Ring<kShape>& ring, int warp,
                                                    int lane, std::uint32_t place,
                                                    const Output& output,
                                                    const TokenPlace* places) {
  const int turn = warp / kInt4TileStrips;
  const int strip = warp % kInt4TileStrips;
  const std::uint32_t first = kShape.token_bytes() + strip * kInt4StripBytes;
  float sums[kShape.tokens() / 2] = {};
  Int4Half weights[2];
  Int4Words words;
  int number = 0;  // of a block in the walk
  for (RingPlace at; ring.Has(at);) {
    RingPlace after = at;
    ring.Advance(after);
    const std::uint32_t stage = ring.Stage(at);
    const int blocks = Kept(ring.Blocks(at));
    const bool goes_on = ring.Has(after);
    WaitBarrier(ring.Full(at), at.round & 1);
#pragma unroll 1
    for (int b = 0; b < blocks; ++b, ++number) {
      if (number % 2 != turn) continue;
      words.Load(stage + first + b * kInt4BlockBytes, lane);
      MakeWeights(words, 0, weights[0]);
      MakeWeights(words, 1, weights[1]);
      PinWeights(weights[0]);
      PinWeights(weights[1]);
      if (number > 0) TakeTurn(turn);
      if (at.chunk > 0 || b > 0) {
        TakeSums(place, sums);
      } else {
#pragma unroll
        for (float& sum : sums) sum = 0.0F;
      }
      PinSums(sums);
      const std::uint32_t boxes = stage + 2 * b * kShape.box_bytes();
      AddHalf<kShape>(boxes, weights[0], sums);
      AddHalf<kShape>(boxes + kShape.box_bytes(), weights[1], sums);
      AwaitSteps<0>();
      PinWeights(weights[0]);
      PinWeights(weights[1]);
      PinSums(sums);
      const bool ends = b + 1 == blocks && after.group != at.group;
      if (!ends) KeepSums(place, sums);
      if (b + 1 < blocks || goes_on) PassTurn(turn);
      if (ends) {
        StoreInt4Rows<kShape>((at.group * kInt4TileStrips + strip) * kInt4StripRows, lane, sums,
                              output, places);
      }
    }
    __syncwarp();
    if (lane == 0) Arrive(ring.Empty(at));
    at = after;
  }
}

#endif

// In the shape of choice kChoice: nvcc cannot name a kernel whose template argument is a struct.
template <std::size_t kChoice, class Output>
__global__ __launch_bounds__(
    kInt4Choices[kChoice].shape.threads(),
    kInt4Choices[kChoice]
        .shape.residents()) void Int4ProductKernel(const __grid_constant__ CUtensorMap tokens,
                                                   const __grid_constant__ Int4ProductInput input,
                                                   const __grid_constant__ Output output) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr Int4Shape kShape = kInt4Choices[kChoice].shape;
  extern __shared__ unsigned char shared[];
  __shared__ std::uint64_t full_barriers[kShape.stages];
  __shared__ std::uint64_t empty_barriers[kShape.stages];
  __shared__ TokenPlace places[Output::kPlaces ? kShape.tokens() : 1];
  const std::uint32_t full = Kept(SharedAddress(full_barriers));
  const std::uint32_t empty = Kept(SharedAddress(empty_barriers));
  if (threadIdx.x == 0) InitInt4Barriers<kShape>(full, empty);
  __syncthreads();
  AllowNext();

  const Int4Ring<kShape> ring = {
      .input = input,
      .stages = (SharedAddress(shared) + kBoxAlignment - 1) & ~(kBoxAlignment - 1U),
      .full = full,
      .empty = empty,
      .chunks = (input.blocks + kShape.blocks - 1) / kShape.blocks,
      .groups = (input.tiles + kShape.tiles - 1) / kShape.tiles};
  // From lane 0, so that the compiler knows it to be the same in all lanes.
  const int warp = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (warp == kShape.warps()) {
    if (lane == 0) FillInt4Ring(ring, tokens);
    return;
  }
  WaitForPrevious();
  if constexpr (Output::kPlaces) {
    for (int t = static_cast<int>(threadIdx.x); t < input.tokens; t += 32 * kShape.warps()) {
      places[t] = PlaceOf(output.target, t);
    }
    asm volatile("bar.sync 1, %0;" ::"n"(32 * kShape.warps()) : "memory");
  }
  if constexpr (kShape.turns) {
    const std::uint32_t kept = ring.stages + kShape.stages * kShape.stage_bytes();
    MultiplyInt4InTurns(ring, warp, lane, kept + 16 * (threadIdx.x % 128), output, places);
  } else {
    MultiplyInt4(ring, warp, lane, output, places);
  }
#else
  __trap();
#endif
}

}  // namespace thinkwire::worker::kernels
