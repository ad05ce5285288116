#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/warpgroup.cuh"
#include "worker/kernels/cuda/device/warpgroup_fp8.cuh"
#include "worker/kernels/cuda/linear/fp8_product_shape.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"

// The kernel that fp8_product.cu explains: one warp that fills a ring of stages, and groups of four
// warps that multiply what is in them.
namespace thinkwire::worker::kernels {

struct Fp8Input {
  const float* row_scales;    // Fp8Rows's
  const float* token_scales;  // Fp8Tokens's
  int tokens;
  int parts;        // of K
  int scale_parts;  // Fp8ScaleParts
  int tile_tokens;
  int token_tiles;
  int tiles;               // of rows and tokens, tokens first
  std::uint32_t zero = 0;  // of which the kernel does not know that it is 0: ArriveAfter
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Where a walk over this block's stages is. Each stage of the ring is used once a round.
struct Fp8Place {
  int tile;
  int chunk = 0;  // of a stage's parts, within the tile
  int round = 0;
  int stage = 0;
};

// A block's part of the product, and its ring. Addresses are those of shared memory.
template <Fp8Shape kShape>
struct Fp8Block {
  const Fp8Input& input;
  std::uint32_t stages;  // the first one's boxes: of W, then of tokens
  std::uint32_t scales;  // the first one's row scales
  std::uint32_t full;    // barriers, one a stage: its bytes are there
  std::uint32_t empty;   // barriers, one a stage: all warps have read it
  int chunks;

  __device__ __forceinline__ Fp8Place Begin() const {
    return {.tile = static_cast<int>(blockIdx.x)};
  }
  __device__ __forceinline__ bool Has(const Fp8Place& at) const { return at.tile < input.tiles; }
  __device__ __forceinline__ void Advance(Fp8Place& at) const {
    if (++at.stage == kShape.stages()) {
      at.stage = 0;
      ++at.round;
    }
    if (++at.chunk == chunks) {
      at.chunk = 0;
      at.tile += static_cast<int>(gridDim.x);
    }
  }
  __device__ __forceinline__ int Row(const Fp8Place& at) const {
    return at.tile / input.token_tiles * kShape.rows();
  }
  __device__ __forceinline__ int Token(const Fp8Place& at) const {
    return at.tile % input.token_tiles * input.tile_tokens;
  }
  __device__ __forceinline__ std::uint32_t Rows(const Fp8Place& at) const {
    return stages + at.stage * kShape.box_bytes();
  }
  __device__ __forceinline__ std::uint32_t Tokens(const Fp8Place& at) const {
    return Rows(at) + kShape.parts * kShape.row_bytes();
  }
  __device__ __forceinline__ std::uint32_t Scales(const Fp8Place& at) const {
    return scales + at.stage * kShape.scale_bytes();
  }
  __device__ __forceinline__ std::uint32_t Full(const Fp8Place& at) const {
    return full + 8 * at.stage;
  }
  __device__ __forceinline__ std::uint32_t Empty(int stage) const { return empty + 8 * stage; }
};

template <Fp8Shape kShape>
__device__ __forceinline__ Fp8Block<kShape> ThisFp8Block(const Fp8Input& input,
                                                         std::uint32_t shared, std::uint32_t full,
                                                         std::uint32_t empty) {
  const std::uint32_t stages = (shared + kBoxAlignment - 1) & ~(kBoxAlignment - 1U);
  return {.input = input,
          .stages = stages,
          .scales = stages + kShape.stages() * kShape.box_bytes(),
          .full = full,
          .empty = empty,
          .chunks = (input.parts + kShape.parts - 1) / kShape.parts};
}

// A stage's rows and their scales.
template <Fp8Shape kShape>
__device__ __forceinline__ void RequestFp8Rows(const Fp8Block<kShape>& block, const Fp8Place& at,
                                               const CUtensorMap& weights) {
  const std::uint64_t policy = block.input.token_tiles == 1 ? kEvictFirst : kEvictNormal;
  const int row = block.Row(at);
#pragma unroll
  for (int p = 0; p < kShape.parts; ++p) {
    CopyBox(block.Rows(at) + p * kShape.row_bytes(), weights,
            (at.chunk * kShape.parts + p) * kBoxColumns, row, block.Full(at), policy);
  }
  constexpr int kBytes = kShape.parts * kFp8TileRows * 4;
#pragma unroll
  for (int g = 0; g < kShape.groups; ++g) {
    const std::int64_t tile = row / kFp8TileRows + g;
    const std::int64_t part = tile * block.input.scale_parts + at.chunk * kShape.parts;
    CopyBytes(block.Scales(at) + g * kBytes, block.input.row_scales + part * kFp8TileRows, kBytes,
              block.Full(at), policy);
  }
}

template <Fp8Shape kShape>
__device__ __forceinline__ void RequestFp8Tokens(const Fp8Block<kShape>& block, const Fp8Place& at,
                                                 const CUtensorMap& tokens) {
#pragma unroll
  for (int p = 0; p < kShape.parts; ++p) {
    CopyBox(block.Tokens(at) + p * kShape.token_bytes(), tokens,
            (at.chunk * kShape.parts + p) * kBoxColumns, block.Token(at), block.Full(at),
            kEvictLast);
  }
}

// The producer, one thread. Weights fill the ring once before the previous kernel has ended.
template <Fp8Shape kShape>
__device__ __forceinline__ void FillFp8Ring(const Fp8Block<kShape>& block,
                                            const CUtensorMap& weights, const CUtensorMap& tokens) {
  const std::uint32_t bytes =
      kShape.scale_bytes() +
      kShape.parts * (kShape.row_bytes() + kFp8Part * block.input.tile_tokens);
  Fp8Place at = block.Begin();
  for (; at.round == 0 && block.Has(at); block.Advance(at)) {
    ArriveExpecting(block.Full(at), bytes);
    RequestFp8Rows(block, at, weights);
  }
  WaitForPrevious();
  for (Fp8Place late = block.Begin(); late.round == 0 && block.Has(late); block.Advance(late)) {
    RequestFp8Tokens(block, late, tokens);
  }
  for (; block.Has(at); block.Advance(at)) {
    WaitBarrier(block.Empty(at.stage), (at.round - 1) & 1);
    ArriveExpecting(block.Full(at), bytes);
    RequestFp8Rows(block, at, weights);
    RequestFp8Tokens(block, at, tokens);
  }
}

// The parts of a stage as a thread has them, before they are added.
template <Fp8Shape kShape>
struct Fp8Parts {
  float part[kShape.parts][kShape.tokens / 2] = {};
  float low[kShape.parts];   // scales of row g
  float high[kShape.parts];  // of row g + 8
};

// All lanes of a warp that multiplies: it has read the stage, whose scales are in `parts`.
template <Fp8Shape kShape>
__device__ __forceinline__ void FreeFp8Stage(const Fp8Block<kShape>& block, int stage, int lane,
                                             const Fp8Parts<kShape>& parts) {
  std::uint32_t landed = 0;
#pragma unroll
  for (int p = 0; p < kShape.parts; ++p) {
    landed |= __float_as_uint(parts.low[p]) | __float_as_uint(parts.high[p]);
  }
  if (lane == 0) ArriveAfter(landed, block.input.zero, block.Empty(stage));
}

__device__ __forceinline__ float LoadScale(std::uint32_t address) {
  float scale = 0.0F;
  asm volatile("ld.shared.f32 %0, [%1];" : "=f"(scale) : "r"(address));
  return scale;
}

// Asks for the steps of all parts of a stage, for `group`'s 64 rows. `scale` is where a stage has
// that of row g.
template <Fp8Shape kShape>
__device__ __forceinline__ void BeginParts(const Fp8Block<kShape>& block, const Fp8Place& at,
                                           int group, std::uint32_t scale,
                                           Fp8Parts<kShape>& parts) {
#pragma unroll
  for (int p = 0; p < kShape.parts; ++p) {
    const std::uint32_t place = block.Scales(at) + scale + p * kFp8TileRows * sizeof(float);
    parts.low[p] = LoadScale(place);
    parts.high[p] = LoadScale(place + 8 * sizeof(float));
    PinSums(parts.part[p]);
  }
  BeginSteps();
#pragma unroll
  for (int p = 0; p < kShape.parts; ++p) {
    const std::uint64_t rows =
        SwizzledMatrix(block.Rows(at) + p * kShape.row_bytes() + group * kFp8TileRows * kFp8Part);
    const std::uint64_t tokens = SwizzledMatrix(block.Tokens(at) + p * kShape.token_bytes());
#pragma unroll
    for (int j = 0; j < kFp8Part / 32; ++j) {
      WarpgroupMmaFp8<kShape.tokens>(parts.part[p], rows + 2 * j, tokens + 2 * j, j == 0);
    }
    CommitSteps();
  }
}

// sums += part * scale for the stage's parts from kFirst on, each once its steps are over; free()
// once all are.
template <int kFirst, Fp8Shape kShape, class Free>
__device__ __forceinline__ void AddParts(Fp8Parts<kShape>& parts, const Free& free,
                                         float (&sums)[kShape.tokens / 2]) {
  AwaitSteps<kShape.parts - 1 - kFirst>();
  if constexpr (kFirst + 1 == kShape.parts) free();
  float(&part)[kShape.tokens / 2] = parts.part[kFirst];
  PinSums(part);
#pragma unroll
  for (int i = 0; i < kShape.tokens / 2; ++i) {
    sums[i] = __fmaf_rn(part[i], i % 4 < 2 ? parts.low[kFirst] : parts.high[kFirst], sums[i]);
  }
  if constexpr (kFirst + 1 < kShape.parts) AddParts<kFirst + 1>(parts, free, sums);
}

// All of K for `group`'s 64 rows by the tile's tokens. A part is added while the next one, or
// another group's, is multiplied.
template <Fp8Shape kShape>
__device__ __forceinline__ void AddFp8Tile(const Fp8Block<kShape>& block, Fp8Place& at, int warp,
                                           int lane, float (&sums)[kShape.tokens / 2]) {
  const int group = warp / 4;
  const std::uint32_t scale =
      (group * kShape.parts * kFp8TileRows + warp % 4 * 16 + lane / 4) * sizeof(float);
  Fp8Parts<kShape> parts;
#pragma unroll 1
  for (int chunk = 0; chunk < block.chunks; ++chunk) {
    WaitBarrier(block.Full(at), at.round & 1);
    BeginParts(block, at, group, scale, parts);
    AddParts<0>(
        parts, [&] { FreeFp8Stage(block, at.stage, lane, parts); }, sums);
    block.Advance(at);
  }
}

// What the end of a tile needs to know of a token.
struct Fp8TokenEnd {
  float scale;
  TokenPlace place;  // if the output asks for it
};

// Of each of a group's tokens, in shared memory.
template <Fp8Shape kShape, class Output>
struct Fp8TokenEnds {
  float scales[kShape.tokens];
  TokenPlace places[Output::kPlaces ? kShape.tokens : 1];
};

// The 128 threads of a group.
__device__ __forceinline__ void SyncGroup(int group) {
  asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
}

// Thread i of a group looks its tile's token i up while the sums are made, if there is one.
template <class Output>
__device__ __forceinline__ Fp8TokenEnd LookUp(const Fp8Input& input, const Output& output,
                                              int token, bool is_there) {
  if (!is_there) return {};
  Fp8TokenEnd end = {.scale = input.token_scales[token]};
  if constexpr (Output::kPlaces) end.place = PlaceOf(output.target, token);
  return end;
}

// Tells the group what its threads found. Nobody reads what the tile before had any more.
template <Fp8Shape kShape, class Output>
__device__ __forceinline__ void Publish(const Fp8TokenEnd& end, int group, int token,
                                        Fp8TokenEnds<kShape, Output>& ends) {
  SyncGroup(group);
  if (token < kShape.tokens) {
    ends.scales[token] = end.scale;
    if constexpr (Output::kPlaces) ends.places[token] = end.place;
  }
  SyncGroup(group);
}

template <Fp8Shape kShape, class Output>
__device__ __forceinline__ void MultiplyFp8(const Fp8Block<kShape>& block, int warp, int lane,
                                            Output output, Fp8TokenEnds<kShape, Output>& ends) {
  const int group = warp / 4;
  const int own = warp % 4 * 32 + lane;
  for (Fp8Place at = block.Begin(); block.Has(at);) {
    const int first = block.Token(at);
    const int row = block.Row(at) + warp * 16 + lane / 4;
    output.tokens = min(block.input.tokens, first + block.input.tile_tokens);
    const Fp8TokenEnd end = LookUp(block.input, output, first + own, first + own < output.tokens);
    float sums[kShape.tokens / 2] = {};
    AddFp8Tile(block, at, warp, lane, sums);
    Publish(end, group, own, ends);
#pragma unroll
    for (int j = 0; j < kShape.tokens / 8; ++j) {
      const int token = 8 * j + lane % 4 * 2;
      const float* const d = sums + 4 * j;
      const float even = ends.scales[token];
      const float odd = ends.scales[token + 1];
      const float scaled[4] = {__fmul_rn(d[0], even), __fmul_rn(d[1], odd), __fmul_rn(d[2], even),
                               __fmul_rn(d[3], odd)};
      output(row, first + token, scaled, ends.places - first);
    }
  }
}

// One thread, before the others know of the ring's barriers.
template <Fp8Shape kShape>
__device__ __forceinline__ void InitFp8Barriers(std::uint32_t full, std::uint32_t empty) {
  for (int s = 0; s < kShape.stages(); ++s) {
    InitBarrier(full + 8 * s, 1);
    InitBarrier(empty + 8 * s, kShape.warps());
  }
  PublishBarriers();
}

#endif

// In shape kChosen of kFp8Shapes: nvcc cannot name a kernel whose template argument is a struct.
template <std::size_t kChosen, class Output>
__global__ __launch_bounds__(kFp8Shapes[kChosen].threads(),
                             1) void Fp8ProductKernel(const __grid_constant__ CUtensorMap weights,
                                                      const __grid_constant__ CUtensorMap tokens,
                                                      const __grid_constant__ Fp8Input input,
                                                      const __grid_constant__ Output output) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  constexpr Fp8Shape kShape = kFp8Shapes[kChosen];
  extern __shared__ unsigned char shared[];
  __shared__ std::uint64_t full_barriers[kShape.stages()];
  __shared__ std::uint64_t empty_barriers[kShape.stages()];
  __shared__ Fp8TokenEnds<kShape, Output> ends[kShape.groups];
  static_assert(kShape.ring_bytes() + 16 * kShape.stages() + sizeof(ends) <= 227 * 1024);
  const std::uint32_t full = SharedAddress(full_barriers);
  const std::uint32_t empty = SharedAddress(empty_barriers);
  if (threadIdx.x == 0) InitFp8Barriers<kShape>(full, empty);
  __syncthreads();
  AllowNext();

  const Fp8Block<kShape> block = ThisFp8Block<kShape>(input, SharedAddress(shared), full, empty);
  // From lane 0, so that the compiler knows it to be the same in all lanes.
  const int warp = __shfl_sync(0xFFFFFFFFU, static_cast<int>(threadIdx.x) / 32, 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (warp >= kShape.warps()) {
    if constexpr (kShape.trades_registers()) ShrinkRegisters<24>();
    if (warp == kShape.warps() && lane == 0) FillFp8Ring(block, weights, tokens);
    __syncwarp();
  } else {
    if constexpr (kShape.trades_registers()) GrowRegisters<kShape.registers()>();
    WaitForPrevious();
    MultiplyFp8(block, warp, lane, output, ends[warp / 4]);
  }
#else
  __trap();
#endif
}

}  // namespace thinkwire::worker::kernels
