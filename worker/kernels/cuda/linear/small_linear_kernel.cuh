#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/small_linear_chain.cuh"
#include "worker/kernels/cuda/linear/small_linear_ring.cuh"
#include "worker/kernels/cuda/linear/small_linear_shape.cuh"
#include "worker/kernels/cuda/norm/norm_token.cuh"

// The kernel that small_linear.cu explains: one warp that fills a ring of stages, and warps that
// multiply what is in them. Needs compute capability 9.0: on older devices it does nothing.
namespace thinkwire::worker::kernels {

struct SmallLinearInput {
  int tokens;
  int columns;
  int copies;          // of W a stage: one of all its boxes, or one a box
  std::uint32_t zero;  // 0, unknown to the compiler (ArriveAfter)
};

// Of a block: those of the shape, and a warp that looks up the tokens of a QKV product.
template <class Output>
constexpr int ThreadsOf(const SmallLinearShape& shape) {
  return shape.threads() + (Output::kPlaces ? 32 : 0);
}

#if __CUDA_ARCH__ >= 900

// What a QKV product wants to know of its tokens, in shared memory: a warp of its own looks it up
// while weights travel and others norm, and tells those that multiply by barrier 2.
template <SmallLinearShape kShape>
struct TokenFacts {
  static constexpr int kThreads = 32 * (kShape.warps() + 1);

  TokenPlace places[kShape.tokens()];
  alignas(16) float angles[kShape.tokens()][kHeadDim];  // rows of the rope table

  __device__ __forceinline__ void LookUp(const QkvTarget& target, int tokens, int lane) {
    WaitForPrevious();
    if (lane < tokens) places[lane] = PlaceOf(target, lane);
    __syncwarp();
    for (int t = 0; t < tokens; ++t) {
      const float* const row =
          target.rope + static_cast<std::int64_t>(places[t].position) * kHeadDim;
      reinterpret_cast<float4*>(angles[t])[lane] = reinterpret_cast<const float4*>(row)[lane];
    }
    asm volatile("bar.arrive 2, %0;" ::"n"(kThreads) : "memory");
  }
  __device__ __forceinline__ void Await() const {
    asm volatile("bar.sync 2, %0;" ::"n"(kThreads) : "memory");
  }
};
template <SmallLinearShape kShape>
struct NoFacts {};

template <SmallLinearShape kShape, class Output>
using FactsOf = std::conditional_t<Output::kPlaces, TokenFacts<kShape>, NoFacts<kShape>>;

// A warp that multiplies: its rows of all the block's groups by its tokens. Sums go to `output`
// group by group.
template <SmallLinearShape kShape, class Output>
__device__ __forceinline__ void Multiply(const Ring<kShape>& ring, int warp, int lane,
                                         std::uint32_t one_token, const SmallLinearInput& input,
                                         int pitch, const Output& output,
                                         const FactsOf<kShape, Output>& facts) {
  Chain<kShape> chain = {.ring = ring,
                         .part = WarpPart<kShape>(warp, lane, pitch),
                         .one_token = one_token,
                         .zero = input.zero};
  RingPlace at;
  if constexpr (kShape.single) WaitBarrier(ring.row_there, 0);
  WaitBarrier(ring.Full(at), 0);
  chain.LoadFirstBox(at);
  bool knows_facts = false;
  while (at.group < ring.groups) {
    const int row = at.group * kShape.rows() + warp * 16 + lane / 4;
    const auto held = [&] {
      if constexpr (Output::kPlaces) {
        return output.BiasOf(row);
      } else {
        return 0;
      }
    }();
    chain.Clear();
    do {
      RingPlace next = at;
      next.Advance(ring.chunks, kShape.stages, ring.blocks);
      chain.AddStage(at, next);
      at = next;
    } while (at.chunk != 0);
#pragma unroll
    for (int n = 0; n < kShape.token_tiles; ++n) {
      const int token = n * 8 + lane % 4 * 2;
      if constexpr (Output::kPlaces) {
        if (!knows_facts) facts.Await();
        knows_facts = true;
        output.Store(row, token, chain.sums[n], facts.places, facts.angles, held);
      } else {
        output(row, token, chain.sums[n], nullptr);
      }
    }
  }
}

#endif

// In the shape of choice kChoice: nvcc cannot name a kernel whose template argument is a struct.
template <std::size_t kChoice, class Tokens, class Output>
__global__ __launch_bounds__(
    ThreadsOf<Output>(kChoices[kChoice].shape),
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
  __shared__ std::uint64_t row_barriers[2];
  __shared__ FactsOf<kShape, Output> facts;
  __shared__ float warp_sums[kNormTokenWarps];
  const std::uint32_t start = SharedAddress(shared);
  const std::uint32_t first_stage = (start + kBoxAlignment - 1) & ~(kBoxAlignment - 1U);
  const std::uint32_t full = SharedAddress(full_barriers);
  const std::uint32_t empty = SharedAddress(empty_barriers);
  if (threadIdx.x == 0) InitBarriers<kShape>(full, empty, SharedAddress(row_barriers));
  __syncthreads();
  AllowNext();

  const Ring<kShape> ring = {.stages = KeptInRegister(first_stage),
                             .full = KeptInRegister(full),
                             .empty = KeptInRegister(empty),
                             .row = first_stage + kShape.stages * kShape.stage_bytes(),
                             .row_there = KeptInRegister(SharedAddress(row_barriers)),
                             .chunks = (input.columns + kShape.columns() - 1) / kShape.columns(),
                             .groups = (output.rows + kShape.rows() - 1) / kShape.rows(),
                             .blocks = KeptInRegister(static_cast<int>(gridDim.x))};
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  if (warp == kShape.producer()) {
    if (lane == 0) FillRing(ring, weights, tokens, input.copies);
    return;
  }
  if constexpr (Output::kPlaces) {
    if (warp > kShape.producer()) return facts.LookUp(output.target, input.tokens, lane);
  }
  unsigned char* const normed =
      shared + (first_stage - start) + kShape.stages * kShape.stage_bytes();
  if constexpr (kShape.norms) {
    NormToken(tokens, ring.chunks * kShape.columns(), normed, warp_sums,
              [] { SyncConsumers<kShape>(); });
  } else {
    WaitForPrevious();
  }
  if constexpr (kShape.norms) SyncConsumers<kShape>();
  if (warp >= kShape.warps()) return;
  if constexpr (kShape.norms) {
    Multiply(ring, warp, lane, SharedAddress(normed), input, 0, output, facts);
  } else {
    const bool whole = kShape.single && tokens.row != nullptr;
    Multiply(ring, warp, lane, whole ? ring.row : 0, input, tokens.pitch, output, facts);
  }
#endif
}

}  // namespace thinkwire::worker::kernels
