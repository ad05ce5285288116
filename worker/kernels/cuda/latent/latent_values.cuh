#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/latent/latent_ring.cuh"
#include "worker/kernels/cuda/latent/latent_steps.cuh"

// The eight warps of a block of latent_attention_wgmma.cu that sum values by their weights: four
// the first 256 columns, four the others; each 16 heads.
namespace thinkwire::worker::kernels {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int kCluster>
class LatentValues {
 public:
  // Group 0 or 1 of its warps.
  __device__ __forceinline__ LatentValues(const LatentArgs& args, LatentShared& shared, int group)
      : args_(args),
        shared_(shared),
        group_(group),
        kept_(args.work.kept +
              (static_cast<std::int64_t>(blockIdx.x) * 2 + group) * kTiles * kGroupThreads +
              threadIdx.x % kGroupThreads) {}

  __device__ __forceinline__ void Walk(const LatentItem& item) {
    has_heads_ = warp() * kTileRows < args_.heads - item.group * kGroupHeads;
    for (int key = item.first; key < item.end; key += kRingTile) {
      AddTile(item, key);
      if (key + kRingTile < item.end && (key + kRingTile) % item.segment != 0) continue;
      if (has_heads_) EndSegment(item, key);
    }
    if (has_heads_) Store(item);
  }

 private:
  static constexpr int kColumns = kLatentWidth / 2;
  static constexpr int kTiles = kColumns / 8;

  static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32 % 4); }
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
  static __device__ __forceinline__ int row() { return warp() * kTileRows + lane() / 4; }

  __device__ __forceinline__ float (&of(int tile))[4] {
    return o_[tile / (kTiles / 2)][tile % (kTiles / 2)];
  }
  __device__ __forceinline__ const float (&of(int tile) const)[4] {
    return o_[tile / (kTiles / 2)][tile % (kTiles / 2)];
  }

  // Values are read across: 64 columns' boxes are kBoxBytes apart, eight keys 1,024 bytes.
  static __device__ __forceinline__ std::uint64_t AcrossMatrix(std::uint32_t address) {
    constexpr std::uint64_t kLeading = 0x3FFFULL << 16;
    return (SwizzledMatrix(address) & ~kLeading) | (std::uint64_t{kBoxBytes >> 4} << 16);
  }

  __device__ __forceinline__ void AddTile(const LatentItem& item, int key) {
    LatentScalars& scalars = shared_.scalars;
    WaitBarrier(SharedAddress(&scalars.ready[turn_.place()]), turn_.parity());
    WaitBarrier(SharedAddress(&scalars.weights_ready), turn_.count & 1);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int num_keys = item.end - key - half * kRingHalf;
      const bool is_first = half == 0 && key % item.segment == 0;
      if (num_keys > 0) AddHalf(half, is_first, num_keys > kPieceKeys);
      Free(half);
    }
    of_segment_[0] = scalars.sums[row()];
    of_segment_[1] = scalars.sums[row() + 8];
    __syncwarp();
    if (lane() == 0) Arrive(SharedAddress(&scalars.weights_free));
    turn_.Next();
  }

  __device__ __forceinline__ void AddHalf(int half, bool is_first, bool has_two_steps) {
    if (!is_first && has_heads_) Scale(half);
    if (has_two_steps) {
      AddSteps<2>(half, is_first);
    } else {
      AddSteps<1>(half, is_first);
    }
  }

  template <int kSteps>
  __device__ __forceinline__ void AddSteps(int half, bool is_first) {
    const std::uint64_t a = SwizzledMatrix(Uniform(SharedAddress(shared_.weights))) + half * 4;
    const std::uint64_t b =
        AcrossMatrix(Uniform(SharedAddress(shared_.tiles[turn_.place()]) + group_ * 4 * kBoxBytes +
                             half * kRingHalf * kBoxRowBytes));
    BeginSteps();
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
#pragma unroll
      for (int side = 0; side < 2; ++side) {
        ValueStep(o_[side], a + 2 * step, b + (step * kPieceBoxBytes + side * 2 * kBoxBytes) / 16,
                  step > 0 || !is_first ? 1 : 0);
      }
    }
    CommitSteps();
    AwaitSteps<0>();
#pragma unroll
    for (int side = 0; side < 2; ++side) PinTiles(o_[side]);
  }

  __device__ __forceinline__ void Scale(int half) {
    const float low = shared_.scalars.factors[half][row()];
    const float high = shared_.scalars.factors[half][row() + 8];
    if (!__any_sync(0xFFFFFFFFU, low != 1.0F || high != 1.0F)) return;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      of(i)[0] = __fmul_rn(of(i)[0], low);
      of(i)[1] = __fmul_rn(of(i)[1], low);
      of(i)[2] = __fmul_rn(of(i)[2], high);
      of(i)[3] = __fmul_rn(of(i)[3], high);
    }
  }

  __device__ __forceinline__ void Free(int half) const {
    const std::uint32_t free = SharedAddress(&shared_.scalars.free[turn_.place()][half]);
    if constexpr (kCluster == 1) {
      if (lane() == 0) Arrive(free);
    } else {
      if (lane() < kCluster) ArriveAtBlock(free, static_cast<unsigned>(lane()));
    }
  }

  // Merges what is kept of the item's earlier segments, and keeps it all if there are later ones.
  __device__ __forceinline__ void EndSegment(const LatentItem& item, int key) {
    MergeFactors factors[2];
    const bool is_first = key - key % item.segment == item.first;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float2 of = of_segment_[half];
      if (is_first) {
        max_[half] = of.x;
        sum_[half] = of.y;
      } else {
        factors[half] = MergeMax(max_[half], of.x);
        sum_[half] = Merged(sum_[half], of.y, factors[half]);
      }
    }
    if (!is_first) MergeKept(factors);
    if (key + kRingTile < item.end) Keep();
  }
  __device__ __forceinline__ void MergeKept(const MergeFactors (&factors)[2]) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      const float4 before = kept_[i * kGroupThreads];
      of(i)[0] = Merged(before.x, of(i)[0], factors[0]);
      of(i)[1] = Merged(before.y, of(i)[1], factors[0]);
      of(i)[2] = Merged(before.z, of(i)[2], factors[1]);
      of(i)[3] = Merged(before.w, of(i)[3], factors[1]);
    }
  }
  __device__ __forceinline__ void Keep() const {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      kept_[i * kGroupThreads] = make_float4(of(i)[0], of(i)[1], of(i)[2], of(i)[3]);
    }
  }

  __device__ __forceinline__ void Store(const LatentItem& item) const {
    const int column = group_ * kColumns + lane() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int head = item.group * kGroupHeads + row() + 8 * half;
      if (head >= args_.heads) continue;
      if (item.partial < 0) {
        StoreResult(half, static_cast<std::int64_t>(item.token) * args_.heads + head, column);
      } else {
        StorePartial(half, static_cast<std::int64_t>(item.partial) * args_.heads + head, column);
      }
    }
  }
  __device__ __forceinline__ void StoreResult(int half, std::int64_t row, int column) const {
    const float inverse = Inverse(sum_[half], 1.0F);
    __nv_bfloat16* const to = args_.out + row * kLatentWidth + column;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      *reinterpret_cast<std::uint32_t*>(to + i * 8) =
          Result(of(i)[2 * half], of(i)[2 * half + 1], inverse);
    }
  }
  __device__ __forceinline__ void StorePartial(int half, std::int64_t row, int column) const {
    float* const to = args_.work.partials + row * kLatentWidth + column;
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
      *reinterpret_cast<float2*>(to + i * 8) = make_float2(of(i)[2 * half], of(i)[2 * half + 1]);
    }
    if (column == 0) args_.work.sums[row] = make_float2(max_[half], sum_[half]);
  }

  const LatentArgs& args_;
  LatentShared& shared_;
  const int group_;
  float4* const kept_;  // [tiles] of this thread, kGroupThreads apart
  bool has_heads_ = false;
  RingTurn turn_;
  float2 of_segment_[2];  // the maximum and the sum of weights
  float max_[2];          // of all segments so far
  float sum_[2];
  float o_[2][kTiles / 2][4];
};

#endif

}  // namespace thinkwire::worker::kernels
