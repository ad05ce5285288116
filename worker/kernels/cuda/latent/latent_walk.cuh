#pragma once

#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/cuda/attention/attention_tile.cuh"
#include "worker/kernels/cuda/device/tensor_core.cuh"
#include "worker/kernels/cuda/latent/latent_copies.cuh"
#include "worker/kernels/cuda/latent/latent_state.cuh"

// A block's walk over the keys of one token, for 32 of its heads (latent_attention.cu).
namespace thinkwire::worker::kernels {

class LatentWalk : public LatentCopies {
 public:
  __device__ __forceinline__ LatentWalk(const LatentArgs& args, unsigned char* shared, int token,
                                        int group)
      : LatentCopies(args, shared, token, group), memory_(shared) {}

  // Adds keys [32 tile, 32 tile + 32), whose copy is done.
  __device__ __forceinline__ void AddTile(int tile, LatentState& state) const {
    float s[1][4];
    Score(tile, s);
    float most[2];
    ShareMaxima(s, most);
    const float before[2] = {state.max[0], state.max[1]};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      state.max[half] = fmaxf(before[half], __fmul_rn(most[half], args_.scale));
    }
    state.Scale(Exp2(__fsub_rn(before[0], state.max[0])), Exp2(__fsub_rn(before[1], state.max[1])));
    ShareWeights(s[0], state);
    AddValues(tile, state);
  }

  __device__ __forceinline__ void StoreResult(const LatentState& state) const {
    const float inverse[2] = {Inverse(state.l[0], 1.0F), Inverse(state.l[2], 1.0F)};
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int head = Head(half);
      if (head >= args_.heads) continue;
      const std::int64_t row = static_cast<std::int64_t>(token_) * args_.heads + head;
      __nv_bfloat16* const to = args_.out + row * kLatentWidth;
#pragma unroll
      for (int i = 0; i < kLatentColumnTiles; ++i) {
        *reinterpret_cast<std::uint32_t*>(to + Column(i)) =
            Result(state.o[i][2 * half], state.o[i][2 * half + 1], inverse[half]);
      }
    }
  }

  __device__ __forceinline__ void StorePartial(const LatentState& state,
                                               std::int64_t partial) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int head = Head(half);
      if (head >= args_.heads) continue;
      const std::int64_t row = partial * args_.heads + head;
      float* const to = args_.work.partials + row * kLatentWidth;
#pragma unroll
      for (int i = 0; i < kLatentColumnTiles; ++i) {
        *reinterpret_cast<float2*>(to + Column(i)) =
            make_float2(state.o[i][2 * half], state.o[i][2 * half + 1]);
      }
      if (lane() % 4 == 0 && part() == 0) {
        args_.work.sums[row] = make_float2(state.max[half], state.l[2 * half]);
      }
    }
  }

 private:
  static __device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x / 32); }
  static __device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x % 32); }
  static __device__ __forceinline__ int part() { return warp() % kLatentParts; }
  // The warp's first head among the block's, and the lane's.
  static __device__ __forceinline__ int first_row() { return warp() / kLatentParts * kTileRows; }
  static __device__ __forceinline__ int row() { return first_row() + lane() / 4; }
  __device__ __forceinline__ int Head(int half) const { return first_head_ + row() + 8 * half; }
  static __device__ __forceinline__ int Column(int i) {
    return part() * kLatentPartColumns + i * 8 + lane() % 4 * 2;
  }

  // The warp's 16 heads with its 8 keys of the tile; keys beyond the position are -infinity.
  __device__ __forceinline__ void Score(int tile, float (&s)[1][4]) const {
    const std::uint32_t heads =
        shared_ + (first_row() + lane() % 16) * kLatentRow + lane() / 16 * 16;
    const std::uint32_t keys = shared_ + kLatentTileAt + tile % 2 * kLatentTileBytes +
                               (part() * kLatentPartKeys + lane() % 8) * kLatentRow +
                               lane() / 8 * 16;
#pragma unroll
    for (int c = 0; c < 4; ++c) s[0][c] = 0.0F;
#pragma unroll 3
    for (int step = 0; step < kLatentKey / 16; step += 2) {
      std::uint32_t a[2][4];
      std::uint32_t b[4];  // both steps'
      LoadMatrices(heads + step * 32, a[0]);
      LoadMatrices(keys + step * 32, b);
      LoadMatrices(heads + step * 32 + 32, a[1]);
      Mma(s[0], a[0], b[0], b[1]);
      Mma(s[0], a[1], b[2], b[3]);
    }
    const int num_keys = position_ + 1 - (tile * kLatentTile + part() * kLatentPartKeys);
    const int both[2] = {num_keys, num_keys};
    MaskScores<1>(both, s);
  }

  // The largest scores of all warps that have the heads.
  __device__ __forceinline__ void ShareMaxima(const float (&s)[1][4], float (&max)[2]) const {
    MaxScores<1>(s, max);
    auto* const maxima = reinterpret_cast<float*>(memory_ + kLatentMaximaAt);
    if (lane() % 4 == 0) {
      maxima[row() * kLatentParts + part()] = max[0];
      maxima[(row() + 8) * kLatentParts + part()] = max[1];
    }
    __syncthreads();
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float4 of = reinterpret_cast<const float4*>(maxima)[row() + 8 * half];
      max[half] = fmaxf(fmaxf(of.x, of.y), fmaxf(of.z, of.w));
    }
  }

  __device__ __forceinline__ void ShareWeights(const float (&s)[4],
                                               const LatentState& state) const {
    const int column = part() * kLatentPartKeys + lane() % 4 * 2;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      *reinterpret_cast<std::uint32_t*>(memory_ + kLatentWeightsAt +
                                        (row() + 8 * half) * kLatentWeightRow + column * 2) =
          Weights(s[2 * half], s[2 * half + 1], args_.scale, -state.max[half]);
    }
    __syncthreads();
  }

  __device__ __forceinline__ void AddValues(int tile, LatentState& state) const {
    constexpr std::uint32_t kOnes = 0x3F803F80;
    const std::uint32_t weights = shared_ + kLatentWeightsAt +
                                  (first_row() + lane() % 16) * kLatentWeightRow + lane() / 16 * 16;
    const std::uint32_t values = shared_ + kLatentTileAt + tile % 2 * kLatentTileBytes +
                                 lane() % 16 * kLatentRow + part() * kLatentPartColumns * 2 +
                                 lane() / 16 * 16;
#pragma unroll
    for (int step = 0; step < kLatentTile / 16; ++step) {
      std::uint32_t a[4];
      LoadMatrices(weights + step * 32, a);
      Mma(state.l, a, kOnes, kOnes);
#pragma unroll
      for (int pair = 0; pair < kLatentColumnTiles / 2; ++pair) {
        std::uint32_t b[4];
        LoadTransposed(values + step * 16 * kLatentRow + pair * 32, b);
        Mma(state.o[2 * pair], a, b[0], b[1]);
        Mma(state.o[2 * pair + 1], a, b[2], b[3]);
      }
    }
  }

  unsigned char* const memory_;
};

}  // namespace thinkwire::worker::kernels
