#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/device/async_copy.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/latent/latent_ops.h"
#include "worker/kernels/cuda/latent/latent_work.cuh"

// Attention over latents: all heads of a token read the same keys of 576, whose first 512 are the
// values.
//
// Canonical order, by the token's position alone. Tiles of 32 keys at absolute positions within
// segments of 256; of a head and tile
//   s_j = q . k_j               one chain of 36 k16 tensor-core steps, ascending
//   m'  = max(m, scale s_j)     over the keys at or before the position
//   p_j = bf16(exp2(fma(s_j, scale, -m')))
//   l   = l exp2(m - m') + sum p_j, o likewise, by a chain of two k16 steps that goes on over tiles
// and segments are merged in ascending order by attention_tile.cuh's formula. Tiles beyond the
// position are not there; keys beyond it in its tile are zeros.
//
// Mapping: a block of eight warps has 64 heads of one token, each warp 16 heads and half of a
// tile's keys, then half of the 512 columns. It walks one segment (few tokens: latent_work.cuh),
// whose result another kernel merges, or all of them, and merges them itself through memory of its
// own. So every token goes the same way, a prompt's and a drawn one: 1,152 bytes a key are read
// from DRAM once, from the second cache once for 64 heads.
// Shared memory: queries 74,752, two tiles 74,752, weights 5,120, maxima 512: one block an SM.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kKey = kLatentWidth + kLatentRotated;
constexpr int kScoreSteps = kKey / 16;
constexpr int kThreads = 256;
constexpr int kHeads = kLatentBlockHeads;
constexpr int kPieces = kKey / 8;     // of 16 bytes in a key
constexpr int kRow = (kKey + 8) * 2;  // bytes of a row in shared memory: no two of eight
                                      // neighbours begin in the same bank
constexpr int kWeightRow = (kLatentTile + 8) * 2;
constexpr int kTileAt = kHeads * kRow;
constexpr int kTileBytesOf = kLatentTile * kRow;
constexpr int kWeightsAt = kTileAt + 2 * kTileBytesOf;
constexpr int kMaximaAt = kWeightsAt + kHeads * kWeightRow;
constexpr int kSharedBytes = kMaximaAt + kHeads * 2 * 4;
constexpr int kColumnTiles = kLatentWidth / 2 / 8;  // of 8 columns, a warp's
constexpr float kLog2E = 1.44269504F;

struct Args {
  const __nv_bfloat16* queries;  // [T, H, 576]
  const __nv_bfloat16* plane;    // [N, B, 576]
  __nv_bfloat16* out;            // [T, H, 512]
  BatchView batch;
  LatentWork work;
  int heads;
  int groups;  // of 64 heads
  int block_tokens;
  float scale;  // times log2(e)
};

__device__ __forceinline__ std::uint32_t SharedAddressOf(const void* at) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(at));
}

// What a warp has of its 16 heads: rows g and g + 8.
struct State {
  float o[kColumnTiles][4];
  float l[4];    // l[0] and l[2]
  float max[2];  // times scale

  __device__ __forceinline__ void Clear() {
#pragma unroll
    for (int i = 0; i < kColumnTiles; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) o[i][c] = 0.0F;
    }
#pragma unroll
    for (int c = 0; c < 4; ++c) l[c] = 0.0F;
    max[0] = max[1] = MinusInfinity();
  }
  __device__ __forceinline__ void Scale(float low, float high) {
#pragma unroll
    for (int i = 0; i < kColumnTiles; ++i) {
      o[i][0] = __fmul_rn(o[i][0], low);
      o[i][1] = __fmul_rn(o[i][1], low);
      o[i][2] = __fmul_rn(o[i][2], high);
      o[i][3] = __fmul_rn(o[i][3], high);
    }
    l[0] = __fmul_rn(l[0], low);
    l[1] = __fmul_rn(l[1], low);
    l[2] = __fmul_rn(l[2], high);
    l[3] = __fmul_rn(l[3], high);
  }
};

// Where a warp keeps what it has of the segments so far, in global memory.
struct Kept {
  float4* at;  // [32 column tiles, 32 lanes]

  __device__ __forceinline__ void Store(const State& state) const {
#pragma unroll
    for (int i = 0; i < kColumnTiles; ++i) {
      at[i * 32 + threadIdx.x % 32] =
          make_float4(state.o[i][0], state.o[i][1], state.o[i][2], state.o[i][3]);
    }
  }
  __device__ __forceinline__ void MergeBefore(const MergeFactors (&factors)[2],
                                              State& state) const {
#pragma unroll
    for (int i = 0; i < kColumnTiles; ++i) {
      const float4 before = at[i * 32 + threadIdx.x % 32];
      state.o[i][0] = Merged(before.x, state.o[i][0], factors[0]);
      state.o[i][1] = Merged(before.y, state.o[i][1], factors[0]);
      state.o[i][2] = Merged(before.z, state.o[i][2], factors[1]);
      state.o[i][3] = Merged(before.w, state.o[i][3], factors[1]);
    }
  }
};

// A block's walk over keys for 64 heads of a token.
class Walk {
 public:
  __device__ __forceinline__ Walk(const Args& args, unsigned char* shared, int token, int group)
      : args_(args),
        shared_(SharedAddressOf(shared)),
        memory_(shared),
        token_(token),
        first_head_(group * kHeads),
        position_(args.batch.positions[token]) {
    const std::int64_t slot = args.batch.seq_slot[args.batch.token_seq[token]];
    blocks_ = args.batch.block_tables + slot * args.batch.max_blocks;
  }

  __device__ __forceinline__ int position() const { return position_; }

  __device__ __forceinline__ void CopyQueries() const {
    const __nv_bfloat16* const from =
        args_.queries + (static_cast<std::int64_t>(token_) * args_.heads + first_head_) * kKey;
    for (int i = static_cast<int>(threadIdx.x); i < kHeads * kPieces; i += kThreads) {
      const int head = i / kPieces;
      const bool is_there = first_head_ + head < args_.heads;
      CopyPiece(shared_ + head * kRow + i % kPieces * 16,
                is_there ? from + head * kKey + i % kPieces * 8 : from, is_there);
    }
  }

  __device__ __forceinline__ void CopyTile(int tile) const {
    const std::uint32_t to = shared_ + kTileAt + tile % 2 * kTileBytesOf;
    for (int i = static_cast<int>(threadIdx.x); i < kLatentTile * kPieces; i += kThreads) {
      const int key = i / kPieces;
      const int position = tile * kLatentTile + key;
      const bool is_there = position <= position_;
      const int at = is_there ? position : position_;
      const std::int64_t row =
          static_cast<std::int64_t>(blocks_[at / args_.block_tokens]) * args_.block_tokens +
          at % args_.block_tokens;
      CopyPiece(to + key * kRow + i % kPieces * 16, args_.plane + row * kKey + i % kPieces * 8,
                is_there);
    }
  }

  // Adds keys [32 tile, 32 tile + 32), whose copy is done.
  __device__ __forceinline__ void AddTile(int tile, State& state) const {
    float s[2][4];
    Score(tile, s);
    float low[2];
    ShareMaxima(s, low);
    const float before[2] = {state.max[0], state.max[1]};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      state.max[half] = fmaxf(before[half], __fmul_rn(low[half], args_.scale));
    }
    state.Scale(Exp2(__fsub_rn(before[0], state.max[0])), Exp2(__fsub_rn(before[1], state.max[1])));
    ShareWeights(s, state);
    AddValues(tile, state);
  }

  __device__ __forceinline__ void StoreResult(const State& state) const {
    const float inverse[2] = {Inverse(state.l[0], 1.0F), Inverse(state.l[2], 1.0F)};
#pragma unroll
    for (int i = 0; i < kColumnTiles; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int head = Head(half);
        if (head >= args_.heads) continue;
        const std::int64_t row = static_cast<std::int64_t>(token_) * args_.heads + head;
        *reinterpret_cast<std::uint32_t*>(args_.out + row * kLatentWidth + Column(i)) =
            Result(state.o[i][2 * half], state.o[i][2 * half + 1], inverse[half]);
      }
    }
  }

  __device__ __forceinline__ void StorePartial(const State& state, std::int64_t partial) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int head = Head(half);
      if (head >= args_.heads) continue;
      const std::int64_t row = partial * args_.heads + head;
      float* const to = args_.work.partials + row * kLatentWidth;
#pragma unroll
      for (int i = 0; i < kColumnTiles; ++i) {
        *reinterpret_cast<float2*>(to + Column(i)) =
            make_float2(state.o[i][2 * half], state.o[i][2 * half + 1]);
      }
      if (threadIdx.x % 4 == 0 && warp() % 2 == 0) {
        args_.work.sums[row] = make_float2(state.max[half], state.l[2 * half]);
      }
    }
  }

 private:
  static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32); }
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
  __device__ __forceinline__ int Head(int half) const {
    return first_head_ + warp() / 2 * 16 + lane() / 4 + 8 * half;
  }
  static __device__ __forceinline__ int Column(int i) {
    return warp() % 2 * (kLatentWidth / 2) + i * 8 + lane() % 4 * 2;
  }

  // The warp's 16 heads with its 16 keys of the tile; keys beyond the position are -infinity.
  __device__ __forceinline__ void Score(int tile, float (&s)[2][4]) const {
    const std::uint32_t heads = shared_ + (warp() / 2 * 16 + lane() % 16) * kRow + lane() / 16 * 16;
    const std::uint32_t keys = shared_ + kTileAt + tile % 2 * kTileBytesOf +
                               (warp() % 2 * 16 + lane() / 16 * 8 + lane() % 8) * kRow +
                               lane() / 8 % 2 * 16;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) s[i][c] = 0.0F;
    }
#pragma unroll 4
    for (int step = 0; step < kScoreSteps; ++step) {
      std::uint32_t a[4];
      std::uint32_t b[4];
      LoadMatrices(heads + step * 32, a);
      LoadMatrices(keys + step * 32, b);
      Mma(s[0], a, b[0], b[1]);
      Mma(s[1], a, b[2], b[3]);
    }
    const int first = tile * kLatentTile + warp() % 2 * 16;
    const int num_keys = position_ + 1 - first;
    const int both[2] = {num_keys, num_keys};
    MaskScores<2>(both, s);
  }

  // The largest scores of both warps that have the heads.
  __device__ __forceinline__ void ShareMaxima(const float (&s)[2][4], float (&max)[2]) const {
    MaxScores<2>(s, max);
    auto* const maxima = reinterpret_cast<float*>(memory_ + kMaximaAt);
    const int row = warp() / 2 * 16 + lane() / 4;
    if (lane() % 4 == 0) {
      maxima[row * 2 + warp() % 2] = max[0];
      maxima[(row + 8) * 2 + warp() % 2] = max[1];
    }
    __syncthreads();
    max[0] = fmaxf(maxima[row * 2], maxima[row * 2 + 1]);
    max[1] = fmaxf(maxima[(row + 8) * 2], maxima[(row + 8) * 2 + 1]);
  }

  __device__ __forceinline__ void ShareWeights(const float (&s)[2][4], const State& state) const {
    const int row = warp() / 2 * 16 + lane() / 4;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int column = warp() % 2 * 16 + i * 8 + lane() % 4 * 2;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        *reinterpret_cast<std::uint32_t*>(memory_ + kWeightsAt + (row + 8 * half) * kWeightRow +
                                          column * 2) =
            Weights(s[i][2 * half], s[i][2 * half + 1], args_.scale, -state.max[half]);
      }
    }
    __syncthreads();
  }

  __device__ __forceinline__ void AddValues(int tile, State& state) const {
    constexpr std::uint32_t kOnes = 0x3F803F80;
    const std::uint32_t weights =
        shared_ + kWeightsAt + (warp() / 2 * 16 + lane() % 16) * kWeightRow + lane() / 16 * 16;
    const std::uint32_t values = shared_ + kTileAt + tile % 2 * kTileBytesOf + lane() % 16 * kRow +
                                 warp() % 2 * kLatentWidth + lane() / 16 * 16;
#pragma unroll
    for (int step = 0; step < kLatentTile / 16; ++step) {
      std::uint32_t a[4];
      LoadMatrices(weights + step * 32, a);
      Mma(state.l, a, kOnes, kOnes);
#pragma unroll
      for (int pair = 0; pair < kColumnTiles / 2; ++pair) {
        std::uint32_t b[4];
        LoadTransposed(values + step * 16 * kRow + pair * 32, b);
        Mma(state.o[2 * pair], a, b[0], b[1]);
        Mma(state.o[2 * pair + 1], a, b[2], b[3]);
      }
    }
  }

  const Args& args_;
  const std::uint32_t shared_;
  unsigned char* const memory_;
  const int token_;
  const int first_head_;
  const int position_;
  const std::int32_t* blocks_;
};

// Tiles [first, end) of a segment, of which the first is on its way; asks for `end` too if there is
// one more in what the block walks.
__device__ __forceinline__ void WalkSegment(const Walk& walk, int first, int end, int last,
                                            State& state) {
  state.Clear();
  for (int tile = first; tile < end; ++tile) {
    if (tile + 1 < last) walk.CopyTile(tile + 1);
    EndCopies();
    AwaitCopies<1>();
    __syncthreads();
    walk.AddTile(tile, state);
    __syncthreads();  // the tile's place, and the weights', are free
  }
}

__global__ __launch_bounds__(kThreads, 1) void AttendLatentsKernel(Args args) {
  extern __shared__ __align__(16) unsigned char shared[];
  WaitForPrevious();
  AllowNext();
  const LatentWork& work = args.work;
  const int tokens = args.batch.num_tokens;
  const int items = work.item_start[tokens] * args.groups;
  const Kept kept = {work.kept +
                     (static_cast<std::int64_t>(blockIdx.x) * (kThreads / 32) + threadIdx.x / 32) *
                         kColumnTiles * 32};
  for (int item = static_cast<int>(blockIdx.x); item < items; item += static_cast<int>(gridDim.x)) {
    const int of_token = item / args.groups;
    const int token = TokenOf(work, tokens, of_token);
    const Walk walk(args, shared, token, item % args.groups);
    const int num_tiles = walk.position() / kLatentTile + 1;
    const std::int64_t partial = work.partial_start[token];
    const int in_token = of_token - work.item_start[token];
    const int first = partial < 0 ? 0 : in_token * kSegmentTiles;
    const int last = partial < 0 ? num_tiles : min(num_tiles, first + kSegmentTiles);
    walk.CopyQueries();
    walk.CopyTile(first);
    EndCopies();
    State state;
    float max[2] = {MinusInfinity(), MinusInfinity()};
    float sum[2] = {0.0F, 0.0F};
    for (int tile = first; tile < last; tile += kSegmentTiles) {
      const int end = min(last, tile + kSegmentTiles);
      WalkSegment(walk, tile, end, last, state);
      if (tile > first) {
        MergeFactors factors[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          factors[half] = MergeMax(max[half], state.max[half]);
          state.l[2 * half] = Merged(sum[half], state.l[2 * half], factors[half]);
        }
        kept.MergeBefore(factors, state);
      } else {
        max[0] = state.max[0];
        max[1] = state.max[1];
      }
      sum[0] = state.l[0];
      sum[1] = state.l[2];
      if (end < last) kept.Store(state);
    }
    if (partial < 0) {
      walk.StoreResult(state);
    } else {
      walk.StorePartial(state, partial + in_token);
    }
  }
}

// What a thread has of a head's segments: four columns.
struct MergedHead {
  float4 o;
  float max;
  float sum;

  __device__ __forceinline__ void Add(const MergedHead& later) {
    const MergeFactors factors = MergeMax(max, later.max);
    sum = Merged(sum, later.sum, factors);
    o = make_float4(Merged(o.x, later.o.x, factors), Merged(o.y, later.o.y, factors),
                    Merged(o.z, later.o.z, factors), Merged(o.w, later.o.w, factors));
  }
};

__device__ __forceinline__ MergedHead PartialOf(const Args& args, std::int64_t row) {
  const float2 sums = args.work.sums[row];
  return {reinterpret_cast<const float4*>(args.work.partials + row * kLatentWidth)[threadIdx.x],
          sums.x, sums.y};
}

// The segments of a head of a token whose partial results lie apart, in ascending order.
__global__ __launch_bounds__(128) void MergeLatentsKernel(Args args) {
  WaitForPrevious();
  AllowNext();
  const LatentWork& work = args.work;
  const int token = static_cast<int>(blockIdx.x);
  const int head = static_cast<int>(blockIdx.y);
  const std::int64_t first = work.partial_start[token];
  const int segments = work.item_start[token + 1] - work.item_start[token];
  if (first < 0 || segments == 0) return;
  MergedHead merged = PartialOf(args, first * args.heads + head);
  constexpr int kAtOnce = 4;
#pragma unroll 1
  for (int segment = 1; segment < segments; segment += kAtOnce) {
    MergedHead later[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const int at = min(segment + i, segments - 1);
      later[i] = PartialOf(args, (first + at) * args.heads + head);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      if (segment + i < segments) merged.Add(later[i]);
    }
  }
  const float inverse = Inverse(merged.sum, 1.0F);
  const std::int64_t row = static_cast<std::int64_t>(token) * args.heads + head;
  reinterpret_cast<uint2*>(args.out + row * kLatentWidth)[threadIdx.x] =
      make_uint2(Result(merged.o.x, merged.o.y, inverse), Result(merged.o.z, merged.o.w, inverse));
}

}  // namespace

void PrepareLatentAttention() {
  CUDA_CHECK(cudaFuncSetAttribute(&AttendLatentsKernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kSharedBytes));
}

bool CanAttendLatents(std::size_t shared_bytes) { return shared_bytes >= kSharedBytes; }

void LaunchAttendLatents(const Tensor& queries, const BatchView& batch, const KvLayer& kv,
                         float scale, const Tensor& out, void* workspace, int num_sms,
                         cudaStream_t stream) {
  if (batch.num_tokens == 0) return;
  const std::int64_t heads = queries.dim(1);
  Check(queries.dtype == DType::kBf16 && out.dtype == DType::kBf16 &&
            queries.size() == batch.num_tokens * heads * kKey &&
            out.size() == batch.num_tokens * heads * kLatentWidth,
        "queries are bf16 [T, H, 576], out is bf16 [T, H, 512]");
  Check(kv.planes[0].dtype == DType::kBf16 && kv.head_dim == kKey && kv.block_tokens > 0,
        "a plane of latents is bf16 [N, B, 576]");
  Check(scale > 0.0F, "attention's scale is positive");
  const auto blocks = static_cast<unsigned>(num_sms < kLatentBlocks ? num_sms : kLatentBlocks);
  const Args args = {.queries = queries.as<__nv_bfloat16>(),
                     .plane = kv.planes[0].as<__nv_bfloat16>(),
                     .out = out.as<__nv_bfloat16>(),
                     .batch = batch,
                     .work = LatentWorkIn(workspace, heads, batch.num_tokens),
                     .heads = static_cast<int>(heads),
                     .groups = static_cast<int>((heads + kHeads - 1) / kHeads),
                     .block_tokens = kv.block_tokens,
                     .scale = scale * kLog2E};
  const bool splits = batch.num_tokens * args.groups < 2 * num_sms;
  Launch(&PlanLatentsKernel, {.grid = dim3(1), .block = dim3(kPlanThreads)}, stream, batch,
         args.work, splits);
  Launch(&AttendLatentsKernel,
         {.grid = dim3(blocks), .block = dim3(kThreads), .shared_bytes = kSharedBytes}, stream,
         args);
  if (!splits) return;
  Launch(&MergeLatentsKernel,
         {.grid = dim3(static_cast<unsigned>(batch.num_tokens), static_cast<unsigned>(heads)),
          .block = dim3(kLatentWidth / 4)},
         stream, args);
}

}  // namespace thinkwire::worker::kernels
