#include <cuda_bf16.h>

#include <algorithm>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/bulk_copy.cuh"
#include "worker/kernels/cuda/launch.cuh"
#include "worker/kernels/cuda/small_linear.h"
#include "worker/kernels/cuda/swiglu.cuh"
#include "worker/kernels/cuda/tensor_core.cuh"
#include "worker/kernels/cuda/tensor_map.h"

// y = x W^T for up to 64 tokens: a stream over the weights, each read once.
//
// Mapping. A block owns groups of kWarps * kRowTiles * 16 rows of W, one after another. One warp
// asks the copy engine for stages of kBoxes * 64 columns of the group's rows and of all tokens, in
// a ring of kStages in shared memory; each of the other warps owns kRowTiles * 16 rows and runs one
// chain of k16 steps an output, in ascending K, with weights as the A operand and tokens as B: up
// to kTokenTiles * 8 tokens ride along on one reading of the weights. K is never split, so that a
// token's bits depend neither on the other tokens nor on who computes it, and equal those of a
// matrix product without split-K (large_linear.h).
//
// Memory. 128-byte rows of a box lie swizzled (16-byte piece p of row r at p ^ (r & 7)), so that
// ldmatrix meets no bank twice. Weights are requested before the previous kernel has ended: they
// never change. The ring is at most 113 KB, so that two blocks share a multiprocessor and the next
// kernel's first stages travel while this one's last are computed.
//
// Roof: bytes of W at DRAM speed. A dependent step is 24.6 cycles on an H100: K = 18,944 takes
// 17 us, less than its rows take to arrive. With 64 tokens the copy engine brings as many bytes of
// tokens as of weights from L2 for 64-row groups.
//
// Limits: K a multiple of 8 (rows of whole 16 bytes; columns up to the next 64 read as zero), x and
// W aligned to 16 bytes.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kBoxColumns = 64;
constexpr int kBoxRowBytes = kBoxColumns * 2;
constexpr int kStepsABox = kBoxColumns / 16;

// What becomes of the sums of 16 rows and 8 tokens. Lane = 4 g + t holds d[0], d[1] of row g and
// d[2], d[3] of row g + 8, for tokens 2t and 2t + 1.
struct Output {
  void* data;
  int width;  // elements of a row of the output
  int rows;   // of W
  int tokens;
};

template <LinearOutput kOutput>
__device__ __forceinline__ void Store(const Output& out, int row, int token, const float (&d)[4]) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    if (token + i >= out.tokens) continue;
    const std::int64_t at = static_cast<std::int64_t>(token + i) * out.width;
    if constexpr (kOutput == LinearOutput::kSwiGlu) {
      // Row g of a 16-row tile is a gate, row g + 8 its up (gate_up_tile.h).
      if (row >= out.rows) continue;
      auto* to = static_cast<__nv_bfloat16*>(out.data) + at + row / 16 * 8 + row % 8;
      *to = SwiGlu(d[i], d[i + 2]);
    } else if constexpr (kOutput == LinearOutput::kF32) {
      auto* to = static_cast<float*>(out.data) + at + row;
      if (row < out.rows) to[0] = d[i];
      if (row + 8 < out.rows) to[8] = d[i + 2];
    } else {
      auto* to = static_cast<__nv_bfloat16*>(out.data) + at + row;
      if (row < out.rows) to[0] = __float2bfloat16_rn(d[i]);
      if (row + 8 < out.rows) to[8] = __float2bfloat16_rn(d[i + 2]);
    }
  }
}

template <int kTokenTiles, int kRowTiles, int kWarps, int kBoxes, int kStages>
struct Ring {
  static constexpr int kRows = 16 * kRowTiles * kWarps;
  static constexpr int kTokens = 8 * kTokenTiles;
  static constexpr int kRowsBytes = kRows * kBoxRowBytes;  // of a box
  static constexpr int kTokensBytes = kTokens * kBoxRowBytes;
  static constexpr int kStageBytes = kBoxes * (kRowsBytes + kTokensBytes);
  static constexpr int kBytes = kStages * kStageBytes + 1024;  // boxes start at multiples of 1024
  static constexpr int kThreads = 32 * (kWarps + 1);
};

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

template <class R, int kTokenTiles, int kRowTiles, int kWarps, int kBoxes, int kStages,
          LinearOutput kOutput>
__global__ __launch_bounds__(R::kThreads,
                             2) void SmallLinearKernel(const __grid_constant__ CUtensorMap weights,
                                                       const __grid_constant__ CUtensorMap tokens,
                                                       const Output out, const int k,
                                                       const std::uint32_t zero) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ unsigned char shared[];
  __shared__ std::uint64_t full_barriers[kStages];
  __shared__ std::uint64_t empty_barriers[kStages];
  const std::uint32_t ring = (SharedAddress(shared) + 1023) & ~1023U;
  const std::uint32_t full = SharedAddress(full_barriers);
  const std::uint32_t empty = SharedAddress(empty_barriers);
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      InitBarrier(full + 8 * s, 1);
      InitBarrier(empty + 8 * s, kWarps);
    }
    FenceBarriers();
  }
  __syncthreads();
  AllowNext();

  const int chunks = (k + kBoxes * kBoxColumns - 1) / (kBoxes * kBoxColumns);
  const int groups = (out.rows + R::kRows - 1) / R::kRows;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;

  if (warp == kWarps) {
    if (lane != 0) return;
    const auto copy_weights = [&](const RingPlace& at) {
      const std::uint32_t to = ring + at.stage * R::kStageBytes;
      for (int b = 0; b < kBoxes; ++b) {
        CopyBox(to + b * R::kRowsBytes, weights, (at.chunk * kBoxes + b) * kBoxColumns,
                at.group * R::kRows, full + 8 * at.stage, kEvictFirst);
      }
    };
    const auto copy_tokens = [&](const RingPlace& at) {
      const std::uint32_t to = ring + at.stage * R::kStageBytes + kBoxes * R::kRowsBytes;
      for (int b = 0; b < kBoxes; ++b) {
        CopyBox(to + b * R::kTokensBytes, tokens, (at.chunk * kBoxes + b) * kBoxColumns, 0,
                full + 8 * at.stage, kEvictLast);
      }
    };
    RingPlace at;
    for (; at.round == 0 && at.group < groups; at.Advance(chunks, kStages)) {
      ArriveExpecting(full + 8 * at.stage, R::kStageBytes);
      copy_weights(at);
    }
    WaitForPrevious();
    RingPlace late;
    for (; late.round == 0 && late.group < groups; late.Advance(chunks, kStages)) copy_tokens(late);
    for (; at.group < groups; at.Advance(chunks, kStages)) {
      WaitPhase(empty + 8 * at.stage, (at.round - 1) & 1);
      ArriveExpecting(full + 8 * at.stage, R::kStageBytes);
      copy_weights(at);
      copy_tokens(at);
    }
    return;
  }

  WaitForPrevious();
  // ldmatrix: lane l addresses row l % 8 of matrix l / 8. A's four matrices are (rows 0-7, 8-15) x
  // (k 0-7, 8-15), rows first; B's are (k 0-7, 8-15) of two steps for one tile of tokens, or of one
  // step for two tiles.
  const int matrix = lane / 8;
  const int a_row = warp * kRowTiles * 16 + (matrix & 1) * 8 + lane % 8;
  const int a_piece = matrix >> 1;
  const int b_row = kTokenTiles == 1 ? lane % 8 : (matrix >> 1) * 8 + lane % 8;
  const int b_piece = kTokenTiles == 1 ? matrix : matrix & 1;
  const int swizzle = lane & 7;

  float sums[kRowTiles][kTokenTiles][4] = {};
  for (RingPlace at; at.group < groups;) {
    WaitPhase(full + 8 * at.stage, at.round & 1);
    const std::uint32_t stage = ring + at.stage * R::kStageBytes;
    std::uint32_t landed = 0;
#pragma unroll
    for (int b = 0; b < kBoxes; ++b) {
      const std::uint32_t a_base = stage + b * R::kRowsBytes + a_row * kBoxRowBytes;
      const std::uint32_t b_base =
          stage + kBoxes * R::kRowsBytes + b * R::kTokensBytes + b_row * kBoxRowBytes;
      FragmentB two_steps[2];
#pragma unroll
      for (int j = 0; j < kStepsABox; ++j) {
        FragmentA a[kRowTiles];
#pragma unroll
        for (int m = 0; m < kRowTiles; ++m) {
          LoadMatrices(a[m].r,
                       a_base + m * 16 * kBoxRowBytes + (((2 * j + a_piece) ^ swizzle) * 16));
          landed |= a[m].r[0];
        }
        if constexpr (kTokenTiles == 1) {
          if (j % 2 == 0) {
            std::uint32_t r[4];
            LoadMatrices(r, b_base + (((2 * j + b_piece) ^ swizzle) * 16));
            landed |= r[0];
            two_steps[0] = {{r[0], r[1]}};
            two_steps[1] = {{r[2], r[3]}};
          }
#pragma unroll
          for (int m = 0; m < kRowTiles; ++m) Mma(sums[m][0], a[m], two_steps[j % 2]);
        } else {
#pragma unroll
          for (int n = 0; n < kTokenTiles; n += 2) {
            std::uint32_t r[4];
            LoadMatrices(r, b_base + n * 8 * kBoxRowBytes + (((2 * j + b_piece) ^ swizzle) * 16));
            landed |= r[0];
#pragma unroll
            for (int m = 0; m < kRowTiles; ++m) {
              Mma(sums[m][n], a[m], {{r[0], r[1]}});
              Mma(sums[m][n + 1], a[m], {{r[2], r[3]}});
            }
          }
        }
      }
    }
    __syncwarp();
    if (lane == 0) ArriveAfter(landed, zero, empty + 8 * at.stage);
    const int group = at.group;
    at.Advance(chunks, kStages);
    if (at.group == group) continue;
    const int first_row = group * R::kRows + warp * kRowTiles * 16 + lane / 4;
#pragma unroll
    for (int m = 0; m < kRowTiles; ++m) {
#pragma unroll
      for (int n = 0; n < kTokenTiles; ++n) {
        Store<kOutput>(out, first_row + m * 16, n * 8 + lane % 4 * 2, sums[m][n]);
#pragma unroll
        for (float& sum : sums[m][n]) sum = 0.0F;
      }
    }
  }
#endif
}

template <int kTokenTiles, int kRowTiles, int kWarps, int kBoxes, int kStages, LinearOutput kOutput>
void LaunchShaped(const SmallLinear& op, cudaStream_t stream) {
  using R = Ring<kTokenTiles, kRowTiles, kWarps, kBoxes, kStages>;
  const auto kernel =
      &SmallLinearKernel<R, kTokenTiles, kRowTiles, kWarps, kBoxes, kStages, kOutput>;
  static const cudaError_t allowed =
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, R::kBytes);
  CUDA_CHECK(allowed);
  const int rows = static_cast<int>(op.rows);
  const int groups = (rows + R::kRows - 1) / R::kRows;
  const int per_sm = std::max(1, std::min(2, 227 * 1024 / (R::kBytes + 1024)));
  const Output out = {op.out, static_cast<int>(op.out_width), rows, op.tokens};
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(std::min(groups, op.num_sms * per_sm))),
          .block = dim3(R::kThreads),
          .shared_bytes = R::kBytes},
         stream, MakeRowMap(op.weights, op.rows, op.columns, kBoxColumns, R::kRows),
         MakeRowMap(op.x, op.tokens, op.columns, kBoxColumns, R::kTokens), out,
         static_cast<int>(op.columns), 0U);
}

// Few rows are spread over as many blocks as possible, many share each token's bytes among more.
template <LinearOutput kOutput>
void LaunchFor(const SmallLinear& op, cudaStream_t stream) {
  if (op.tokens <= 8) {
    if (op.rows < 2112) return LaunchShaped<1, 1, 1, 4, 8, kOutput>(op, stream);
    return LaunchShaped<1, 1, 2, 4, 5, kOutput>(op, stream);
  }
  if (op.tokens <= 16) {
    if (op.rows < 2112) return LaunchShaped<2, 1, 1, 4, 6, kOutput>(op, stream);
    return LaunchShaped<2, 1, 2, 4, 4, kOutput>(op, stream);
  }
  if (op.tokens <= 32) {
    if (op.rows < 4096) return LaunchShaped<4, 1, 1, 4, 4, kOutput>(op, stream);
    return LaunchShaped<4, 1, 2, 2, 6, kOutput>(op, stream);
  }
  if (op.rows < 4096) return LaunchShaped<8, 1, 1, 2, 5, kOutput>(op, stream);
  return LaunchShaped<8, 1, 2, 2, 4, kOutput>(op, stream);
}

}  // namespace

void LaunchSmallLinear(const SmallLinear& op, LinearOutput output, cudaStream_t stream) {
  Check(op.tokens >= 1 && op.tokens <= kSmallLinearTokens, "at most 64 tokens");
  Check(op.columns % 8 == 0, "rows of W are whole pieces of 16 bytes");
  switch (output) {
    case LinearOutput::kBf16:
      return LaunchFor<LinearOutput::kBf16>(op, stream);
    case LinearOutput::kF32:
      return LaunchFor<LinearOutput::kF32>(op, stream);
    case LinearOutput::kSwiGlu:
      return LaunchFor<LinearOutput::kSwiGlu>(op, stream);
  }
}

}  // namespace thinkwire::worker::kernels
