#include <cuda_bf16.h>

#include <algorithm>
#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/barrier.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/experts/expert_ops.h"
#include "worker/kernels/cuda/linear/swiglu.cuh"
#include "worker/kernels/cuda/tiles/tile_product.cuh"

// The chosen experts' products, and their sum:
//   gated = bf16(silu(x Wg^T) * (x Wu^T)), as GateUpSwiGlu rounds it
//   y     = gated Wd^T, f32
//   out   = bf16(sum over a token's experts by ascending id of weight * y, plus shared), in f32,
//           each operation rounded by itself
//
// Mapping: expert_plan.cu cuts the pairs of tokens and experts into tiles of one expert, blockIdx.y
// is a tile, and each of a block's eight warps has 16 rows of the expert's matrix for all of it by
// tile_product.cuh, in rings of 13 KB, or 4 where tokens are many. So an expert's weights are read
// once for every 8, 16, 32 or 64 of its tokens, and one that nobody chose is not read. Bytes: R1,
// FP8, one token: 8 x 44 MB x 1.03 a layer, 78 us of an H200's 4.5 TB/s. The tile's size goes by
// pairs an expert; no bit depends on it. Limits: E and F in 16s, FP8 in 128s.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 8;
constexpr int kSumThreads = 256;

struct Args {
  ExpertPlan plan;
  const std::uint8_t* weights;
  std::int64_t tile_bytes;
  int tiles_of_expert;
  int steps;
  int per_token;
  const __nv_bfloat16* x;  // [T, E], or, for the down products, gated [pairs, F]
  std::int64_t x_width;
  __nv_bfloat16* gated;  // [pairs, F], in the plan's order
  float* y;              // [T * P, E]
  int width;             // of what is written: F or E
};

// A warp's part of the plan.
struct Work {
  int expert;
  int first;  // pair
  int count;
};

template <int kSubs>
__device__ __forceinline__ Work WorkOf(const ExpertPlan& plan) {
  Work work = {plan.tile_expert[blockIdx.y], 0, 0};
  if (work.expert < 0) return work;
  work.first = plan.tile_first[blockIdx.y];
  work.count = min(8 * kSubs, plan.starts[work.expert + 1] - work.first);
  return work;
}

// The warp's tile of the expert's matrix, whose first weights are asked for.
template <TileFormat kFormat, int kSubs>
__device__ __forceinline__ TileProduct<kFormat, kSubs> RequestTile(const Args& args,
                                                                   const Work& work, int tile) {
  extern __shared__ __align__(16) unsigned char rings[];
  const std::int64_t at = static_cast<std::int64_t>(work.expert) * args.tiles_of_expert + tile;
  return {args.weights + at * args.tile_bytes, args.steps,
          SharedAddress(rings + threadIdx.x / 32 * TileRingBytes<kFormat, kSubs>())};
}

// Its sums. `row_of(pair)` is the row of x of a pair that there is.
template <TileFormat kFormat, int kSubs, class RowOf>
__device__ __forceinline__ void Multiply(const Args& args, const Work& work,
                                         const TileProduct<kFormat, kSubs>& product,
                                         const RowOf& row_of, float (&sums)[kSubs][4]) {
  const int g = static_cast<int>(threadIdx.x % 32 / 4);
  const __nv_bfloat16* rows[kSubs];
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
    const int i = 8 * s + g;
    rows[s] = i < work.count ? args.x + row_of(work.first + i) * args.x_width : nullptr;
  }
  product.Run(rows, sums);
}

template <TileFormat kFormat, int kSubs>
__global__ __launch_bounds__(32 * kWarps) void ExpertGateUpKernel(Args args) {
  WaitForPrevious();  // before AllowNext: the next kernel reads the plan without waiting itself
  AllowNext();
  const int tile = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  const Work work = WorkOf<kSubs>(args.plan);
  if (work.expert < 0 || tile >= args.tiles_of_expert) return;
  const auto product = RequestTile<kFormat, kSubs>(args, work, tile);
  float sums[kSubs][4];
  Multiply(
      args, work, product,
      [&](int pair) { return static_cast<std::int64_t>(args.plan.pairs[pair] / args.per_token); },
      sums);
  const int feature = tile * 8 + static_cast<int>(threadIdx.x % 32 / 4);
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int i = 8 * s + static_cast<int>(threadIdx.x % 4) * 2 + c;
      if (i >= work.count) continue;
      args.gated[static_cast<std::int64_t>(work.first + i) * args.width + feature] =
          SwiGlu(sums[s][c], sums[s][c + 2]);
    }
  }
}

// The plan and weights do not wait for the gates: all of those have seen the plan's end before this
// kernel starts.
template <TileFormat kFormat, int kSubs>
__global__ __launch_bounds__(32 * kWarps) void ExpertDownKernel(Args args) {
  const int tile = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  const Work work = WorkOf<kSubs>(args.plan);
  if (work.expert < 0 || tile >= args.tiles_of_expert) return WaitForPrevious();
  const auto product = RequestTile<kFormat, kSubs>(args, work, tile);
  WaitForPrevious();
  AllowNext();
  float sums[kSubs][4];
  Multiply(
      args, work, product, [](int pair) { return static_cast<std::int64_t>(pair); }, sums);
  const int row = tile * kTileMatrixRows + static_cast<int>(threadIdx.x % 32 / 4);
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const int i = 8 * s + static_cast<int>(threadIdx.x % 4) * 2 + c;
      if (i >= work.count) continue;
      float* const to =
          args.y + static_cast<std::int64_t>(args.plan.pairs[work.first + i]) * args.width + row;
      to[0] = sums[s][c];
      to[8] = sums[s][c + 2];
    }
  }
}

struct SumArgs {
  const std::int32_t* ids;
  const float* weights;
  int per_token;
  int first;
  int experts;
  const float* y;
  const float* shared;  // or null
  __nv_bfloat16* out;
  int width;
};

// A thread has one column of a token.
__global__ __launch_bounds__(kSumThreads) void SumExpertsKernel(SumArgs args) {
  WaitForPrevious();
  AllowNext();
  const auto token = static_cast<std::int64_t>(blockIdx.x);
  const int column = static_cast<int>(blockIdx.y * kSumThreads + threadIdx.x);
  if (column >= args.width) return;
  constexpr int kAtOnce = 8;  // asked for before the first of them is there
  float sum = 0.0F;
#pragma unroll 1
  for (int first = 0; first < args.per_token; first += kAtOnce) {
    int ids[kAtOnce];
    float weights[kAtOnce];
    float y[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const std::int64_t pair = token * args.per_token + min(first + i, args.per_token - 1);
      ids[i] = args.ids[pair];
      weights[i] = args.weights[pair];
      y[i] = args.y[pair * args.width + column];  // anything where the expert is another rank's
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const bool is_own = ids[i] >= 0 && ids[i] >= args.first && ids[i] - args.first < args.experts;
      if (first + i < args.per_token && is_own) {
        sum = __fadd_rn(sum, __fmul_rn(weights[i], y[i]));
      }
    }
  }
  if (args.shared != nullptr) sum = __fadd_rn(sum, args.shared[token * args.width + column]);
  args.out[token * args.width + column] = __float2bfloat16_rn(sum);
}

// What of the scratch memory is what.
struct Places {
  float* y;
  __nv_bfloat16* gated;
  ExpertPlan plan;
};

Places PlacesIn(void* scratch, const ExpertShape& shape, std::int64_t pairs, int tile_tokens) {
  Places places = {};
  places.y = static_cast<float*>(scratch);
  places.gated = reinterpret_cast<__nv_bfloat16*>(places.y + pairs * shape.hidden);
  auto* words = reinterpret_cast<std::int32_t*>(places.gated + pairs * shape.ffn);
  // An expert's last tile may hold one pair; and no tile holds none.
  const std::int64_t most = std::min(pairs, shape.count + pairs / tile_tokens);
  places.plan = {.starts = words,
                 .pairs = words + shape.count + 1,
                 .tile_expert = words + shape.count + 1 + pairs,
                 .tile_first = words + shape.count + 1 + pairs + most,
                 .most_tiles = most,
                 .tile_tokens = tile_tokens};
  return places;
}

template <TileFormat kFormat, int kSubs>
void LaunchProducts(Args args, const CudaExperts& experts, const Places& places,
                    cudaStream_t stream) {
  const ExpertShape& shape = experts.shape();
  const auto tiles = static_cast<unsigned>(places.plan.most_tiles);
  const auto launch = [&](void (*kernel)(Args), const void* weights, std::int64_t rows,
                          std::int64_t columns) {
    args.weights = static_cast<const std::uint8_t*>(weights);
    args.tile_bytes = TileBytes(kFormat, columns);
    args.tiles_of_expert = static_cast<int>(rows / kTileMatrixRows);
    args.steps = static_cast<int>(columns / kTileStep);
    const auto blocks = static_cast<unsigned>((args.tiles_of_expert + kWarps - 1) / kWarps);
    constexpr int kRings = kWarps * TileRingBytes<kFormat, kSubs>();
    // Each device keeps its own: at every launch, for under 1 us.
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kRings));
    Launch(kernel,
           {.grid = dim3(blocks, tiles), .block = dim3(32 * kWarps), .shared_bytes = kRings},
           stream, args);
  };
  args.width = static_cast<int>(shape.ffn);
  launch(&ExpertGateUpKernel<kFormat, kSubs>, experts.gate_up(), 2 * shape.ffn, shape.hidden);
  args.x = places.gated;
  args.x_width = shape.ffn;
  args.width = static_cast<int>(shape.hidden);
  launch(&ExpertDownKernel<kFormat, kSubs>, experts.down(), shape.hidden, shape.ffn);
}

template <int kSubs>
void LaunchOf(const Args& args, const CudaExperts& experts, const Places& places,
              cudaStream_t stream) {
  if (experts.format() == TileFormat::kFp8) {
    return LaunchProducts<TileFormat::kFp8, kSubs>(args, experts, places, stream);
  }
  LaunchProducts<TileFormat::kBf16, kSubs>(args, experts, places, stream);
}

// As many tokens as an expert has on average, so that most have one tile.
int SubsFor(std::int64_t pairs, const ExpertShape& shape) {
  const std::int64_t average = pairs / shape.count;
  if (average <= 4) return 1;
  if (average <= 12) return 2;
  return average <= 24 ? 4 : 8;
}

}  // namespace

void LaunchMixExperts(const Tensor& x, const ExpertMix& mix, const Tensor& out, void* scratch,
                      cudaStream_t stream) {
  const CudaExperts& experts = CudaExperts::From(mix.experts);
  const ExpertShape& shape = experts.shape();
  const std::int64_t tokens = x.dim(0);
  if (tokens == 0) return;
  Check(x.dtype == DType::kBf16 && out.dtype == DType::kBf16 && x.dim(1) == shape.hidden &&
            out.size() == x.size() && mix.choice.ids.dim(0) == tokens &&
            mix.choice.weights.size() == mix.choice.ids.size(),
        "x, out are bf16 [T, E], ids, weights [T, P]");
  Check(mix.shared.data == nullptr ||
            (mix.shared.dtype == DType::kF32 && mix.shared.size() == x.size()),
        "the shared one is f32 [T, E]");
  Check(tokens <= kMixTokens, "at most 2,048 tokens at once");
  const std::int64_t pairs = mix.choice.ids.size();
  const auto per_token = static_cast<int>(mix.choice.ids.dim(1));
  const int subs = SubsFor(pairs, shape);
  const Places places = PlacesIn(scratch, shape, pairs, 8 * subs);
  LaunchPlanExperts(mix.choice, shape, places.plan, stream);
  Args args = {};
  args.plan = places.plan;
  args.per_token = per_token;
  args.x = x.as<__nv_bfloat16>();
  args.x_width = shape.hidden;
  args.gated = places.gated;
  args.y = places.y;
  if (subs == 1) LaunchOf<1>(args, experts, places, stream);
  if (subs == 2) LaunchOf<2>(args, experts, places, stream);
  if (subs == 4) LaunchOf<4>(args, experts, places, stream);
  if (subs == 8) LaunchOf<8>(args, experts, places, stream);
  const SumArgs sum = {.ids = mix.choice.ids.as<std::int32_t>(),
                       .weights = mix.choice.weights.as<float>(),
                       .per_token = per_token,
                       .first = static_cast<int>(shape.first),
                       .experts = static_cast<int>(shape.count),
                       .y = places.y,
                       .shared = mix.shared.data == nullptr ? nullptr : mix.shared.as<float>(),
                       .out = out.as<__nv_bfloat16>(),
                       .width = static_cast<int>(shape.hidden)};
  Launch(&SumExpertsKernel,
         {.grid = dim3(static_cast<unsigned>(tokens),
                       static_cast<unsigned>((shape.hidden + kSumThreads - 1) / kSumThreads)),
          .block = dim3(kSumThreads)},
         stream, sum);
}

}  // namespace thinkwire::worker::kernels
