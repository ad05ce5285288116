#pragma once

#include <cstdint>

#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/norm/row_norm.cuh"

// The norm of a product's only token by every block of the product, for itself: one kernel less to
// wait for. Bits: AddRmsNorm's, by the same threads. Two tokens would take longer than in a kernel
// of their own (tests/bench/RESULTS.md).
//
// Order in shared memory: groups of 32 columns, 64 bytes each. The 16 bytes of lane t = 0..3 are a
// group's columns 2t, 2t + 1 and those 8, 16 and 24 further: what the lane holds of token 0 in two
// k16 steps of a tensor core.
namespace thinkwire::worker::kernels {

inline constexpr int kNormTokenWarps = kRowWarps;
inline constexpr int kNormTokenColumns = 8192;                                // at most
inline constexpr int kNormTokenPieces = kNormTokenColumns / 8 / kRowThreads;  // a thread's

// Of one row each.
struct NormedInput {
  const uint4* partial;  // null: nothing is added, and no sum written
  const uint4* residual;
  uint4* sum;  // not residual: other blocks still read that
  const uint4* weight;
  uint4* out;
  float eps;
  int pieces;  // 16 bytes each
};

// Where the 16-byte piece `piece` of a row goes in shared memory.
__device__ __forceinline__ void SpreadPiece(unsigned char* row, int piece, const uint4& value) {
  auto* const to = reinterpret_cast<std::uint32_t*>(row + piece / 4 * 64 + piece % 4 * 4);
  to[0] = value.x;
  to[4] = value.y;
  to[8] = value.z;
  to[12] = value.w;
}

// Zeros in the pieces [from, to).
__device__ __forceinline__ void SpreadZeros(unsigned char* row, int from, int to) {
  for (int piece = from + static_cast<int>(threadIdx.x); piece < to; piece += kRowThreads) {
    SpreadPiece(row, piece, make_uint4(0, 0, 0, 0));
  }
}

// A thread's pieces of a row, those beyond its end zero: all are asked for before any is used.
__device__ __forceinline__ void LoadPieces(const uint4* row, int pieces,
                                           uint4 (&to)[kNormTokenPieces]) {
#pragma unroll
  for (int j = 0; j < kNormTokenPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    to[j] = row != nullptr && piece < pieces ? row[piece] : make_uint4(0, 0, 0, 0);
  }
}

// Writes the normed row to `normed`, zeros in columns from E up to `columns`; block 0 also writes
// sum and out. By threads 0 .. kRowThreads - 1, which `sync` synchronises; what they wrote is there
// after another `sync`. Waits for the previous kernel.
template <class Sync>
__device__ __forceinline__ void NormToken(const NormedInput& input, int columns,
                                          unsigned char* normed, float (&warp_sums)[kRowWarps],
                                          const Sync& sync) {
  uint4 scale[kNormTokenPieces];
  LoadPieces(input.weight, input.pieces, scale);
  SpreadZeros(normed, input.pieces, columns / 8);
  WaitForPrevious();
  uint4 values[kNormTokenPieces];
  uint4 partial[kNormTokenPieces];
  LoadPieces(input.residual, input.pieces, values);
  LoadPieces(input.partial, input.pieces, partial);
  float square_sum = 0.0F;
#pragma unroll
  for (int j = 0; j < kNormTokenPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece >= input.pieces) break;
    if (input.partial != nullptr) {
      values[j] = Narrow(Add(Widen(values[j]), Widen(partial[j])));
      if (blockIdx.x == 0) input.sum[piece] = values[j];
    }
    square_sum = AddSquares(Widen(values[j]), square_sum);
  }
  const float factor = NormFactor(SumOverThreads(square_sum, warp_sums, sync),
                                  static_cast<float>(8 * input.pieces), input.eps);
#pragma unroll
  for (int j = 0; j < kNormTokenPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece >= input.pieces) break;
    const uint4 row = Normed(Widen(values[j]), factor, scale[j]);
    SpreadPiece(normed, piece, row);
    if (blockIdx.x == 0) input.out[piece] = row;
  }
}

}  // namespace thinkwire::worker::kernels
