#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_core.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"
#include "worker/kernels/cuda/norm/norm_token.cuh"

// The kernel that small_linear.cu explains: one warp that fills a ring of stages, and warps that
// multiply what is in them. Needs compute capability 9.0: on older devices it does nothing.
namespace thinkwire::worker::kernels {

// The tokens of a product that come through the ring. (NormedInput: the one that does not.)
struct TokenMap {
  CUtensorMap map;
  int tokens;  // of a box: those there are, as rows beyond a matrix cost the copy engine more
  int copies;  // of a stage; one: a single token, whose columns are not swizzled
};

struct SmallLinearInput {
  int tokens;
  int columns;
  int copies;          // of W a stage: one of all its boxes, or one a box
  std::uint32_t zero;  // 0, unknown to the compiler (ArriveAfter)
};

#if __CUDA_ARCH__ >= 900

// Where a walk over this block's stages is. Each stage of the ring is used once a round.
struct RingPlace {
  int chunk = 0;  // of a stage's columns, within the group's rows
  int group = static_cast<int>(blockIdx.x);
  int round = 0;
  int stage = 0;

  __device__ __forceinline__ void Advance(int chunks, int stages) {
    if (++stage == stages) {
      stage = 0;
      ++round;
    }
    if (++chunk == chunks) {
      chunk = 0;
      group += static_cast<int>(gridDim.x);
    }
  }
};

// A block's ring and how far walks over it go. Addresses are those of shared memory.
template <SmallLinearShape kShape>
struct Ring {
  std::uint32_t stages;  // the first one; boxes of W, then boxes of tokens
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
};

// One thread, before the others know of the ring's barriers.
template <SmallLinearShape kShape>
__device__ __forceinline__ void InitBarriers(std::uint32_t full, std::uint32_t empty) {
  for (int s = 0; s < kShape.stages; ++s) {
    InitBarrier(full + 8 * s, 1);
    InitBarrier(empty + 8 * s, kShape.warps());
  }
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
  if constexpr (kShape.norms) {
    return kShape.stage_bytes();
  } else {
    return kShape.boxes * (kShape.row_bytes() + kBoxRowBytes * tokens.tokens);
  }
}

// From one box's tokens to the next one's.
template <SmallLinearShape kShape, class Tokens>
__device__ __forceinline__ int TokenBytes(const Tokens& tokens) {
  if constexpr (kShape.norms) {
    return 0;
  } else {
    return tokens.copies == 1 ? kBoxRowBytes : kShape.token_bytes();
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
    for (int b = 0; b < tokens.copies; ++b) {
      CopyBox(to + b * kShape.token_bytes(), tokens.map,
              (at.chunk * kShape.boxes + b) * kBoxColumns, 0, ring.Full(at), kEvictLast);
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

// A lane's part of two k16 steps: token 0 as NormToken wrote it, seven of zeros.
__device__ __forceinline__ void LoadNormed(const unsigned char* group, int lane,
                                           std::uint32_t (&b)[4]) {
  uint4 value = make_uint4(0, 0, 0, 0);
  if (lane < 4) value = reinterpret_cast<const uint4*>(group)[lane];
  b[0] = value.x;
  b[1] = value.y;
  b[2] = value.z;
  b[3] = value.w;
}

// Which part of a product a warp that multiplies has, and where its lane finds it in a stage.
//
// ldmatrix: lane l addresses row l % 8 of matrix l / 8. A's four matrices are (rows 0-7, 8-15) x (k
// 0-7, 8-15), rows first; B's are (k 0-7, 8-15) of two steps for one tile of tokens, or of one step
// for two tiles.
template <SmallLinearShape kShape>
struct WarpPart {
  int lane;
  int row_warp;
  int a_row;
  int a_piece;
  int b_row;
  int b_piece;
  int swizzle;
  int token_bytes;  // from one box's tokens to the next one's

  __device__ __forceinline__ WarpPart(int warp, int lane, int token_bytes)
      : lane(lane), token_bytes(token_bytes) {
    constexpr bool kOneTile = kShape.token_tiles == 1;
    const int matrix = lane / 8;
    row_warp = warp;
    a_row = row_warp * 16 + (matrix & 1) * 8 + lane % 8;
    a_piece = matrix >> 1;
    b_row = (kOneTile ? 0 : (matrix >> 1) * 8) + lane % 8;
    b_piece = kOneTile ? matrix : matrix & 1;
    swizzle = lane & 7;
  }
};

// Adds box `b` of a stage to the warp's sums, four k16 steps. `normed` is what NormToken wrote, if
// the shape norms. `landed` gets a register of each load.
template <SmallLinearShape kShape>
__device__ __forceinline__ void AddBox(const WarpPart<kShape>& part, std::uint32_t stage, int chunk,
                                       int b, const unsigned char* normed,
                                       float (&sums)[kShape.token_tiles][4],
                                       std::uint32_t& landed) {
  constexpr int kSteps = kBoxColumns / 16;
  const std::uint32_t a_base = stage + b * kShape.row_bytes() + part.a_row * kBoxRowBytes;
  const std::uint32_t b_base =
      stage + kShape.boxes * kShape.row_bytes() + b * part.token_bytes + part.b_row * kBoxRowBytes;
  std::uint32_t two_steps[4];  // tokens of two k16 steps
#pragma unroll
  for (int j = 0; j < kSteps; ++j) {
    std::uint32_t a[4];
    LoadMatrices(a_base + (((2 * j + part.a_piece) ^ part.swizzle) * 16), a);
    landed |= a[0];
    if constexpr (kShape.norms) {
      if (j % 2 == 0) {
        const int group = ((chunk * kShape.boxes + b) * kSteps + j) / 2;  // of 32 columns
        LoadNormed(normed + 64 * group, part.lane, two_steps);
      }
      Mma(sums[0], a, two_steps[j % 2 * 2], two_steps[j % 2 * 2 + 1]);
    } else if constexpr (kShape.token_tiles == 1) {
      if (j % 2 == 0) {
        LoadMatrices(b_base + (((2 * j + part.b_piece) ^ part.swizzle) * 16), two_steps);
        landed |= two_steps[0];
      }
      Mma(sums[0], a, two_steps[j % 2 * 2], two_steps[j % 2 * 2 + 1]);
    } else {
#pragma unroll
      for (int n = 0; n < kShape.token_tiles; n += 2) {
        std::uint32_t r[4];
        LoadMatrices(b_base + n * 8 * kBoxRowBytes + (((2 * j + part.b_piece) ^ part.swizzle) * 16),
                     r);
        landed |= r[0];
        Mma(sums[n], a, r[0], r[1]);
        Mma(sums[n + 1], a, r[2], r[3]);
      }
    }
  }
}

// A warp that multiplies: its rows of all the block's groups by its tokens. Sums go to `output`
// group by group.
template <SmallLinearShape kShape, class Output>
__device__ __forceinline__ void Multiply(const Ring<kShape>& ring, int warp, int lane,
                                         const unsigned char* normed, const SmallLinearInput& input,
                                         int token_bytes, const Output& output,
                                         const TokenPlace* places) {
  const WarpPart<kShape> part(warp, lane, token_bytes);
  float sums[kShape.token_tiles][4] = {};
  for (RingPlace at; at.group < ring.groups;) {
    WaitBarrier(ring.Full(at), at.round & 1);
    const std::uint32_t stage = ring.Stage(at);
    std::uint32_t landed = 0;
#pragma unroll
    for (int b = 0; b < kShape.boxes; ++b) AddBox(part, stage, at.chunk, b, normed, sums, landed);
    __syncwarp();
    if (lane == 0) ArriveAfter(landed, input.zero, ring.Empty(at));
    const int group = at.group;
    at.Advance(ring.chunks, kShape.stages);
    if (at.group == group) continue;
    const int row = group * kShape.rows() + part.row_warp * 16 + lane / 4;
#pragma unroll
    for (int n = 0; n < kShape.token_tiles; ++n) {
      output(row, n * 8 + lane % 4 * 2, sums[n], places);
#pragma unroll
      for (float& sum : sums[n]) sum = 0.0F;
    }
  }
}

#endif

// In the shape of choice kChoice: nvcc cannot name a kernel whose template argument is a struct.
template <std::size_t kChoice, class Tokens, class Output>
__global__ __launch_bounds__(
    kChoices[kChoice].shape.threads(),
    kChoices[kChoice]
        .shape.blocks()) void SmallLinearKernel(const __grid_constant__ CUtensorMap weights,
                                                const __grid_constant__ Tokens tokens,
                                                const __grid_constant__ SmallLinearInput input,
                                                const __grid_constant__ Output output) {
#if __CUDA_ARCH__ >= 900
  constexpr SmallLinearShape kShape = kChoices[kChoice].shape;
  extern __shared__ unsigned char shared[];
  __shared__ std::uint64_t full_barriers[kShape.stages];
  __shared__ std::uint64_t empty_barriers[kShape.stages];
  __shared__ TokenPlace places[Output::kPlaces ? kShape.tokens() : 1];
  __shared__ float warp_sums[kNormTokenWarps];
  const std::uint32_t start = SharedAddress(shared);
  const std::uint32_t first_stage = (start + kBoxAlignment - 1) & ~(kBoxAlignment - 1U);
  const std::uint32_t full = SharedAddress(full_barriers);
  const std::uint32_t empty = SharedAddress(empty_barriers);
  if (threadIdx.x == 0) InitBarriers<kShape>(full, empty);
  __syncthreads();
  AllowNext();

  const Ring<kShape> ring = {.stages = first_stage,
                             .full = full,
                             .empty = empty,
                             .chunks = (input.columns + kShape.columns() - 1) / kShape.columns(),
                             .groups = (output.rows + kShape.rows() - 1) / kShape.rows()};
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (warp == kShape.producer()) {
    if (lane == 0) FillRing(ring, weights, tokens, input.copies);
    return;
  }
  unsigned char* const normed =
      shared + (first_stage - start) + kShape.stages * kShape.stage_bytes();
  if constexpr (kShape.norms) {
    NormToken(tokens, ring.chunks * kShape.columns(), normed, warp_sums,
              [] { SyncConsumers<kShape>(); });
  } else {
    WaitForPrevious();
  }
  if constexpr (Output::kPlaces) {
    for (int t = static_cast<int>(threadIdx.x); t < input.tokens; t += 32 * kShape.producer()) {
      places[t] = PlaceOf(output.target, t);
    }
  }
  if constexpr (Output::kPlaces || kShape.norms) SyncConsumers<kShape>();
  if (warp >= kShape.warps()) return;
  Multiply(ring, warp, lane, normed, input, TokenBytes<kShape>(tokens), output, places);
#endif
}

}  // namespace thinkwire::worker::kernels
