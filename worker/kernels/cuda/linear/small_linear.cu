#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/bulk_copy.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_core.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/small_linear.h"
#include "worker/kernels/cuda/norm/norm_token.cuh"

// y = x W^T for up to 64 tokens: a stream over the weights, each read once.
//
// Mapping. A block owns groups of kRowWarps * 16 rows of W, one after another. One warp asks the
// copy engine for stages of kBoxes * 64 columns of the group's rows and of all tokens, in a ring of
// kStages in shared memory; each of the first warps owns 16 rows and kTokenTiles * 8 tokens and
// runs one chain of k16 steps an output, in ascending K, with weights as the A operand and tokens
// as B. All tokens ride along on one reading of the weights. K is never split, so that a token's
// bits depend neither on the other tokens nor on who computes it, and equal those of a matrix
// product without split-K (large_linear.h).
//
// Memory. 128-byte rows of a box lie swizzled (16-byte piece p of row r at p ^ (r & 7)), so that
// ldmatrix meets no bank twice. Weights are requested before the previous kernel has ended: they
// never change. A multiprocessor holds up to 200 KB of rings, of one block or of two, as the bytes
// that are on their way at any moment are what its bandwidth is made of; where rows are few and
// tokens at most 32, half of it is left to the next kernel's first stages. A single token's norm
// (norm_token.cuh) takes its place beside the ring, which has weights alone then.
//
// Roof: bytes of W at DRAM speed. A dependent step is 24.6 cycles on an H100: K = 18,944 takes
// 17 us, less than its rows take to arrive. With 64 tokens the copy engine brings twice as many
// bytes of tokens (from L2) as of weights to 32-row groups, and a step of one row of tiles by all
// tokens would take a warp's tensor core some 60 cycles: warps share the tokens out.
//
// Limits: K a multiple of 8 (rows of whole 16 bytes; columns up to the next 64 read as zero), x and
// W aligned to 16 bytes.
namespace thinkwire::worker::kernels {

// Where a walk over this block's stages is. Each stage of the ring is used once a round.
struct RingPlace {
  int group = static_cast<int>(blockIdx.x);
  int chunk = 0;
  int stage = 0;
  int round = 0;

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

namespace {

constexpr int kBoxColumns = 64;
constexpr int kBoxRowBytes = kBoxColumns * 2;
constexpr int kMostSharedBytes = 226 * 1024;  // and barriers and places
constexpr int kMostOfTwoBlocks = 113 * 1024;  // each
// Used by the code for sm_90 alone.
[[maybe_unused]] constexpr int kStepsABox = kBoxColumns / 16;
[[maybe_unused]] constexpr int kOthersBarrier = 1;  // 0 is __syncthreads

// kRowWarps x kTokenWarps warps of 16 rows and kTokenTiles * 8 tokens each. kNorms: the block norms
// the only token itself and the ring has weights alone.
template <int kTokenTiles_, int kRowWarps_, int kTokenWarps_, int kBoxes_, int kStages_,
          bool kNorms_ = false>
struct Shape {
  static constexpr bool kNorms = kNorms_;
  static constexpr int kTokenTiles = kTokenTiles_;
  static constexpr int kRowWarps = kRowWarps_;
  static constexpr int kBoxes = kBoxes_;
  static constexpr int kStages = kStages_;

  static constexpr int kWarps = kRowWarps * kTokenWarps_;
  static constexpr int kRows = 16 * kRowWarps;
  static constexpr int kTokens = 8 * kTokenTiles * kTokenWarps_;
  static constexpr int kProducer = kNorms ? kNormTokenWarps : kWarps;  // the warp after all others
  static constexpr int kThreads = 32 * (kProducer + 1);
  static constexpr int kRowsBytes = kRows * kBoxRowBytes;  // of a box
  static constexpr int kTokensBytes = kNorms ? 0 : kTokens * kBoxRowBytes;
  static constexpr int kStageBytes = kBoxes * (kRowsBytes + kTokensBytes);
  static constexpr int kAlignment = 1024;  // of a swizzled box
  static constexpr int kSharedBytes = kStages * kStageBytes + kAlignment;
  static constexpr int kMostNormedBytes = kNorms ? 2 * kNormTokenColumns : 0;
  static_assert(kSharedBytes + kMostNormedBytes <= kMostSharedBytes);
  static_assert(!kNorms || (kTokens == 8 && kWarps <= kProducer));
  static constexpr int kBlocks =  // a multiprocessor
      kSharedBytes + kMostNormedBytes <= kMostOfTwoBlocks ? 2 : 1;
};

// The tokens of a product that come through the ring.
struct TokenMap {
  CUtensorMap map;
};

struct Input {
  int tokens;
  int columns;
  std::uint32_t zero;  // 0, unknown to the compiler (ArriveAfter)
};

// All warps but the producer.
template <class S>
__device__ __forceinline__ void SyncOthers() {
  asm volatile("bar.sync %0, %1;" ::"n"(kOthersBarrier), "n"(32 * S::kProducer) : "memory");
}

// A lane's part of two k16 steps: token 0 as NormToken wrote it, seven of zeros.
[[maybe_unused]] __device__ __forceinline__ void LoadNormed(const unsigned char* group, int lane,
                                                            std::uint32_t (&b)[4]) {
  uint4 value = make_uint4(0, 0, 0, 0);
  if (lane < 4) value = reinterpret_cast<const uint4*>(group)[lane];
  b[0] = value.x;
  b[1] = value.y;
  b[2] = value.z;
  b[3] = value.w;
}

template <class S, class Tokens, class Output>
__global__ __launch_bounds__(S::kThreads, S::kBlocks) void SmallLinearKernel(
    const __grid_constant__ CUtensorMap weights, const __grid_constant__ Tokens tokens,
    const __grid_constant__ Input input, const __grid_constant__ Output output) {
#if __CUDA_ARCH__ >= 900
  constexpr int kStages = S::kStages;
  constexpr int kTokenTiles = S::kTokenTiles;
  extern __shared__ unsigned char shared[];
  __shared__ std::uint64_t full_barriers[kStages];
  __shared__ std::uint64_t empty_barriers[kStages];
  __shared__ TokenPlace places[Output::kPlaces ? S::kTokens : 1];
  __shared__ float warp_sums[kNormTokenWarps];
  const std::uint32_t start = SharedAddress(shared);
  const std::uint32_t ring = (start + S::kAlignment - 1) & ~(S::kAlignment - 1U);
  const std::uint32_t full = SharedAddress(full_barriers);
  const std::uint32_t empty = SharedAddress(empty_barriers);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      InitBarrier(full + 8 * s, 1);
      InitBarrier(empty + 8 * s, S::kWarps);
    }
    PublishBarriers();
  }
  __syncthreads();
  AllowNext();

  constexpr int kChunkColumns = S::kBoxes * kBoxColumns;
  const int chunks = (input.columns + kChunkColumns - 1) / kChunkColumns;
  const int groups = (output.rows + S::kRows - 1) / S::kRows;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;

  if (warp == S::kProducer) {
    if (lane != 0) return;
    const auto copy_weights = [&](const RingPlace& at) {
      const std::uint32_t to = ring + at.stage * S::kStageBytes;
      for (int b = 0; b < S::kBoxes; ++b) {
        CopyBox(to + b * S::kRowsBytes, weights, (at.chunk * S::kBoxes + b) * kBoxColumns,
                at.group * S::kRows, full + 8 * at.stage, kEvictFirst);
      }
    };
    const auto copy_tokens = [&](const RingPlace& at) {
      const std::uint32_t to = ring + at.stage * S::kStageBytes + S::kBoxes * S::kRowsBytes;
      if constexpr (!S::kNorms) {
        for (int b = 0; b < S::kBoxes; ++b) {
          CopyBox(to + b * S::kTokensBytes, tokens.map, (at.chunk * S::kBoxes + b) * kBoxColumns, 0,
                  full + 8 * at.stage, kEvictLast);
        }
      }
    };
    RingPlace at;
    for (; at.round == 0 && at.group < groups; at.Advance(chunks, kStages)) {
      ArriveExpecting(full + 8 * at.stage, S::kStageBytes);
      copy_weights(at);
    }
    WaitForPrevious();
    RingPlace late;
    for (; late.round == 0 && late.group < groups; late.Advance(chunks, kStages)) copy_tokens(late);
    for (; at.group < groups; at.Advance(chunks, kStages)) {
      WaitBarrier(empty + 8 * at.stage, (at.round - 1) & 1);
      ArriveExpecting(full + 8 * at.stage, S::kStageBytes);
      copy_weights(at);
      copy_tokens(at);
    }
    return;
  }

  unsigned char* const normed = shared + (ring - start) + kStages * S::kStageBytes;
  if constexpr (S::kNorms) {
    NormToken(tokens, chunks * kChunkColumns, normed, warp_sums, [] { SyncOthers<S>(); });
  } else {
    WaitForPrevious();
  }
  if constexpr (Output::kPlaces) {
    for (int t = static_cast<int>(threadIdx.x); t < input.tokens; t += 32 * S::kProducer) {
      places[t] = PlaceOf(output.target, t);
    }
  }
  if constexpr (Output::kPlaces || S::kNorms) SyncOthers<S>();
  if (warp >= S::kWarps) return;

  // ldmatrix: lane l addresses row l % 8 of matrix l / 8. A's four matrices are (rows 0-7, 8-15) x
  // (k 0-7, 8-15), rows first; B's are (k 0-7, 8-15) of two steps for one tile of tokens, or of one
  // step for two tiles.
  const int matrix = lane / 8;
  const int row_warp = warp % S::kRowWarps;
  const int first_token = warp / S::kRowWarps * (8 * kTokenTiles);
  const int a_row = row_warp * 16 + (matrix & 1) * 8 + lane % 8;
  const int a_piece = matrix >> 1;
  const int b_row = first_token + (kTokenTiles == 1 ? 0 : (matrix >> 1) * 8) + lane % 8;
  const int b_piece = kTokenTiles == 1 ? matrix : matrix & 1;
  const int swizzle = lane & 7;
  float sums[kTokenTiles][4] = {};
  for (RingPlace at; at.group < groups;) {
    WaitBarrier(full + 8 * at.stage, at.round & 1);
    const std::uint32_t stage = ring + at.stage * S::kStageBytes;
    std::uint32_t landed = 0;
#pragma unroll
    for (int b = 0; b < S::kBoxes; ++b) {
      const std::uint32_t a_base = stage + b * S::kRowsBytes + a_row * kBoxRowBytes;
      const std::uint32_t b_base =
          stage + S::kBoxes * S::kRowsBytes + b * S::kTokensBytes + b_row * kBoxRowBytes;
      std::uint32_t two_steps[4];  // tokens of two k16 steps
#pragma unroll
      for (int j = 0; j < kStepsABox; ++j) {
        std::uint32_t a[4];
        LoadMatrices(a_base + (((2 * j + a_piece) ^ swizzle) * 16), a);
        landed |= a[0];
        if constexpr (S::kNorms) {
          if (j % 2 == 0) {
            const int group = ((at.chunk * S::kBoxes + b) * kStepsABox + j) / 2;  // of 32 columns
            LoadNormed(normed + 64 * group, lane, two_steps);
          }
          Mma(sums[0], a, two_steps[j % 2 * 2], two_steps[j % 2 * 2 + 1]);
        } else if constexpr (kTokenTiles == 1) {
          if (j % 2 == 0) {
            LoadMatrices(b_base + (((2 * j + b_piece) ^ swizzle) * 16), two_steps);
            landed |= two_steps[0];
          }
          Mma(sums[0], a, two_steps[j % 2 * 2], two_steps[j % 2 * 2 + 1]);
        } else {
#pragma unroll
          for (int n = 0; n < kTokenTiles; n += 2) {
            std::uint32_t r[4];
            LoadMatrices(b_base + n * 8 * kBoxRowBytes + (((2 * j + b_piece) ^ swizzle) * 16), r);
            landed |= r[0];
            Mma(sums[n], a, r[0], r[1]);
            Mma(sums[n + 1], a, r[2], r[3]);
          }
        }
      }
    }
    __syncwarp();
    if (lane == 0) ArriveAfter(landed, input.zero, empty + 8 * at.stage);
    const int group = at.group;
    at.Advance(chunks, kStages);
    if (at.group == group) continue;
    const int row = group * S::kRows + row_warp * 16 + lane / 4;
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
      output(row, first_token + n * 8 + lane % 4 * 2, sums[n], places);
#pragma unroll
      for (float& sum : sums[n]) sum = 0.0F;
    }
  }
#endif
}

template <class S, class Tokens, class Output>
void LaunchShaped(const SmallLinear& op, const Tokens& tokens, int normed_bytes,
                  const Output& output, cudaStream_t stream) {
  const auto kernel = &SmallLinearKernel<S, Tokens, Output>;
  // Each device keeps its own, and each rank's thread has another: at every launch, for under 1 us.
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  S::kSharedBytes + S::kMostNormedBytes));
  const int groups = static_cast<int>((op.rows + S::kRows - 1) / S::kRows);
  const Input input = {op.tokens, static_cast<int>(op.columns), 0U};
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(std::min(groups, op.num_sms * S::kBlocks))),
          .block = dim3(S::kThreads),
          .shared_bytes = static_cast<std::size_t>(S::kSharedBytes + normed_bytes)},
         stream, MakeRowMap(op.weights, op.rows, op.columns, kBoxColumns, S::kRows), tokens, input,
         output);
}

template <class S, class Output>
void LaunchShaped(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  const TokenMap tokens = {MakeRowMap(op.x, op.tokens, op.columns, kBoxColumns, S::kTokens)};
  LaunchShaped<S>(op, tokens, 0, output, stream);
}

template <class S, class Output>
void LaunchNorming(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  const ResidualNorm& norm = *op.norm;
  const NormedInput tokens = {.partial = static_cast<const uint4*>(norm.partial.data),
                              .residual = static_cast<const uint4*>(norm.residual.data),
                              .sum = static_cast<uint4*>(norm.sum.data),
                              .weight = static_cast<const uint4*>(norm.weight.data),
                              .out = static_cast<uint4*>(norm.out.data),
                              .eps = norm.eps,
                              .pieces = static_cast<int>(op.columns / 8)};
  constexpr int kChunkColumns = S::kBoxes * kBoxColumns;
  const int columns =
      (static_cast<int>(op.columns) + kChunkColumns - 1) / kChunkColumns * kChunkColumns;
  LaunchShaped<S>(op, tokens, 2 * columns, output, stream);
}

// LaunchFor's shapes for up to 8 tokens, with more stages where tokens took much of the ring.
template <class Output>
void LaunchNormingFor(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  Check(CanNorm(*op.norm) && op.norm->out.data == op.x && op.norm->out.dim(0) == op.tokens &&
            op.norm->out.dim(1) == op.columns,
        "the norm's output is x");
  const std::int64_t rows_an_sm = (op.rows + op.num_sms - 1) / op.num_sms;
  if (rows_an_sm <= 32) return LaunchNorming<Shape<1, 1, 1, 4, 8, true>>(op, output, stream);
  if (rows_an_sm <= 64) return LaunchNorming<Shape<1, 4, 1, 2, 12, true>>(op, output, stream);
  LaunchNorming<Shape<1, 2, 1, 4, 12, true>>(op, output, stream);
}

// Groups of 16, 32 or 64 rows, so that every multiprocessor has one. Where all need several, ones
// of 32, as the last are then shared out better, but of 64 for 17 to 32 tokens. Measured for each
// shape of the distills up to qwen-14b on an H100.
template <class Output>
void LaunchFor(const SmallLinear& op, const Output& output, cudaStream_t stream) {
  Check(op.tokens >= 1 && op.tokens <= kSmallLinearTokens, "at most 64 tokens");
  Check(op.columns % 8 == 0, "rows of W are whole pieces of 16 bytes");
  const std::int64_t rows_an_sm = (op.rows + op.num_sms - 1) / op.num_sms;
  if (op.tokens <= 8) {
    if (rows_an_sm <= 32) return LaunchShaped<Shape<1, 1, 1, 4, 8>>(op, output, stream);
    if (rows_an_sm <= 64) return LaunchShaped<Shape<1, 4, 1, 2, 12>>(op, output, stream);
    return LaunchShaped<Shape<1, 2, 1, 4, 10>>(op, output, stream);
  }
  if (op.tokens <= 16) {
    if (rows_an_sm <= 16) return LaunchShaped<Shape<2, 1, 1, 4, 6>>(op, output, stream);
    if (rows_an_sm > 32 && rows_an_sm <= 64) {
      return LaunchShaped<Shape<2, 4, 1, 2, 10>>(op, output, stream);
    }
    return LaunchShaped<Shape<2, 2, 1, 4, 8>>(op, output, stream);
  }
  if (op.tokens <= 32) {
    if (rows_an_sm <= 32) return LaunchShaped<Shape<4, 1, 1, 4, 4>>(op, output, stream);
    return LaunchShaped<Shape<4, 4, 1, 2, 8>>(op, output, stream);
  }
  if (rows_an_sm <= 16) return LaunchShaped<Shape<2, 1, 4, 4, 5>>(op, output, stream);
  if (rows_an_sm > 32 && rows_an_sm <= 64) {
    return LaunchShaped<Shape<4, 4, 2, 2, 6>>(op, output, stream);
  }
  LaunchShaped<Shape<4, 2, 2, 2, 8>>(op, output, stream);
}

}  // namespace

bool CanNorm(const ResidualNorm& norm) {
  const auto is_input = [&](const Tensor& t) {
    return t.data == norm.residual.data || t.data == norm.partial.data;
  };
  return norm.out.dim(0) == 1 && norm.out.dim(1) % 8 == 0 && norm.out.dim(1) <= kNormTokenColumns &&
         !is_input(norm.out) && (norm.partial.data == nullptr || !is_input(norm.sum));
}

void LaunchSmallLinear(const SmallLinear& op, float* out, cudaStream_t stream) {
  const StoreF32 output = {out, static_cast<int>(op.rows), op.tokens};
  if (op.norm != nullptr) return LaunchNormingFor(op, output, stream);
  LaunchFor(op, output, stream);
}

void LaunchSmallLinearBf16(const SmallLinear& op, void* out, cudaStream_t stream) {
  LaunchFor(op, StoreBf16{static_cast<__nv_bfloat16*>(out), static_cast<int>(op.rows), op.tokens},
            stream);
}

void LaunchSmallLinearSwiGlu(const SmallLinear& op, void* out, cudaStream_t stream) {
  const StoreSwiGlu output = {static_cast<__nv_bfloat16*>(out), static_cast<int>(op.rows),
                              op.tokens};
  if (op.norm != nullptr) return LaunchNormingFor(op, output, stream);
  LaunchFor(op, output, stream);
}

void LaunchSmallLinearQkv(const SmallLinear& op, const void* bias, const Tensor& rope,
                          const BatchView& batch, const KvLayer& kv, const Tensor& q,
                          cudaStream_t stream) {
  const StoreQkv output = {MakeQkvTarget(op.rows, op.tokens, bias, rope, batch, kv, q),
                           static_cast<int>(op.rows), op.tokens};
  if (op.norm != nullptr) return LaunchNormingFor(op, output, stream);
  LaunchFor(op, output, stream);
}

}  // namespace thinkwire::worker::kernels
