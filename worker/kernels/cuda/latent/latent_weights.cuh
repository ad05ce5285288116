#pragma once

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_steps.cuh"
#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/latent/latent_ring.cuh"

// The four warps of a block of latent_attention_wgmma.cu that make weights of queries and keys, 16
// heads each.
namespace thinkwire::worker::kernels {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

class LatentWeights {
 public:
  __device__ __forceinline__ LatentWeights(const LatentArgs& args, LatentShared& shared)
      : args_(args), shared_(shared) {}

  __device__ __forceinline__ void Walk(const LatentItem& item) {
    const int heads = args_.heads - item.group * kGroupHeads;
    has_heads_ = warp() * kTileRows < heads;
    WaitBarrier(SharedAddress(&shared_.scalars.queries_ready), items_ & 1);
    ++items_;
    for (int key = item.first; key < item.end; key += kRingTile) AddTile(item, key);
  }

 private:
  static constexpr int kHalfTiles = kRingHalf / 8;
  static constexpr int kScoreTiles = kRingTile / 8;

  static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32 % 4); }
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
  static __device__ __forceinline__ int row() { return warp() * kTileRows + lane() / 4; }

  __device__ __forceinline__ void AddTile(const LatentItem& item, int key) {
    float s[kScoreTiles][4];
    Score(s);
    if (key + kRingTile >= item.end && lane() == 0) {
      Arrive(SharedAddress(&shared_.scalars.queries_free));
    }
    const int num_keys = item.end - key;
    const int both[2] = {num_keys, num_keys};
    if (num_keys < kRingTile) MaskScores<kScoreTiles>(both, s);
    if (key % item.segment == 0) {
      max_[0] = max_[1] = MinusInfinity();
#pragma unroll
      for (int c = 0; c < 4; ++c) sum_[c] = 0.0F;
    }
    std::uint32_t weights[kRingTile / 16][4];
    float factors[2][2];
    if (has_heads_) {
      AddHalf(s, 0, weights, factors[0]);
      AddHalf(s, 1, weights, factors[1]);
    }
    LatentScalars& scalars = shared_.scalars;
    if (tiles_ > 0) WaitBarrier(SharedAddress(&scalars.weights_free), (tiles_ & 1) ^ 1);
    if (has_heads_) {
      Store(weights);
      if (lane() % 4 == 0) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          scalars.factors[0][row() + 8 * half] = factors[0][half];
          scalars.factors[1][row() + 8 * half] = factors[1][half];
          scalars.sums[row() + 8 * half] = make_float2(max_[half], sum_[2 * half]);
        }
      }
    }
    if (num_keys < kRingTile) ClearValues(num_keys);
    PublishToTensorCores();
    Arrive(SharedAddress(&scalars.weights_ready));
    ++tiles_;
    turn_.Next();
  }

  __device__ __forceinline__ void Score(float (&s)[kScoreTiles][4]) const {
    WaitBarrier(SharedAddress(&shared_.scalars.ready[turn_.place()]), turn_.parity());
    const std::uint32_t queries = Uniform(SharedAddress(shared_.queries));
    const std::uint32_t keys = Uniform(SharedAddress(shared_.tiles[turn_.place()]));
    BeginSteps();
#pragma unroll
    for (int box = 0; box < kBoxes; ++box) {
      const std::uint64_t a = SwizzledMatrix(queries + box * kBoxBytes);
      const std::uint64_t b = SwizzledMatrix(keys + box * kBoxBytes);
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        if (box + step == 0) {
          ScoreStep<false>(s, a, b);
        } else {
          ScoreStep<true>(s, a + 2 * step, b + 2 * step);
        }
      }
    }
    CommitSteps();
    AwaitSteps<0>();
    PinTiles(s);
  }

  // Half `half` of the tile's scores become weights, and its `factors` those of what was before.
  __device__ __forceinline__ void AddHalf(const float (&s)[kScoreTiles][4], int half,
                                          std::uint32_t (&weights)[kRingTile / 16][4],
                                          float (&factors)[2]) {
    constexpr std::uint32_t kOnes = 0x3F803F80;
    const float(*const own)[4] = s + half * kHalfTiles;
    float most[2];
    MaxScores<kHalfTiles>(own, most);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float before = max_[i];
      max_[i] = fmaxf(before, __fmul_rn(most[i], args_.scale));
      factors[i] = Exp2(__fsub_rn(before, max_[i]));
      sum_[2 * i] = __fmul_rn(sum_[2 * i], factors[i]);
      sum_[2 * i + 1] = __fmul_rn(sum_[2 * i + 1], factors[i]);
    }
#pragma unroll
    for (int step = 0; step < kRingHalf / 16; ++step) {
      std::uint32_t(&of)[4] = weights[half * (kRingHalf / 16) + step];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const float* const pair = &own[step * 2 + i / 2][i % 2 * 2];
        of[i] = Weights(pair[0], pair[1], args_.scale, -max_[i % 2]);
      }
      Mma(sum_, of, kOnes, kOnes);
    }
  }

  // As wgmma reads rows of 64 weights.
  __device__ __forceinline__ void Store(const std::uint32_t (&weights)[kRingTile / 16][4]) const {
    const std::uint32_t at = SharedAddress(shared_.weights);
#pragma unroll
    for (int step = 0; step < kRingTile / 16; ++step) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int piece = step * 2 + i / 2;
        const int of = row() + i % 2 * 8;
        StoreWord(at + of * kBoxRowBytes + (piece ^ (of % 8)) * 16 + lane() % 4 * 4,
                  weights[step][i]);
      }
    }
  }
  static __device__ __forceinline__ void StoreWord(std::uint32_t address, std::uint32_t word) {
    asm volatile("st.shared.b32 [%0], %1;" ::"r"(address), "r"(word) : "memory");
  }

  // Keys from num_keys on of their 16: what lies there may be NaN, which a weight of 0 keeps.
  __device__ __forceinline__ void ClearValues(int num_keys) const {
    constexpr int kPieces = kBoxRowBytes / 16;
    const int end = (num_keys + kPieceKeys - 1) / kPieceKeys * kPieceKeys;
    const std::uint32_t tile = SharedAddress(shared_.tiles[turn_.place()]);
    for (int i = static_cast<int>(threadIdx.x % kGroupThreads);
         i < (end - num_keys) * kBoxes * kPieces; i += kGroupThreads) {
      const int key = num_keys + i / (kBoxes * kPieces);
      const int piece = i % (kBoxes * kPieces);
      StorePiece(tile + piece / kPieces * kBoxBytes + key * kBoxRowBytes + piece % kPieces * 16,
                 {});
    }
  }

  const LatentArgs& args_;
  LatentShared& shared_;
  bool has_heads_ = false;
  int items_ = 0;
  int tiles_ = 0;
  RingTurn turn_;
  float max_[2];  // times scale
  float sum_[4];  // [0] and [2]
};

#endif

}  // namespace thinkwire::worker::kernels
