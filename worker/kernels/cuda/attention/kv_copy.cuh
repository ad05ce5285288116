#pragma once

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/attention/attention_args.h"
#include "worker/kernels/cuda/attention/kv_block.cuh"
#include "worker/kernels/cuda/device/barrier.cuh"

// Copies of a segment's keys or values to shared memory, and the barriers that tell when they are
// there. A segment is 128 tokens at absolute positions; it travels in pieces of 16 tokens of one KV
// head, 4 KB each or 2 KB in FP8, which are contiguous in a KV block and lie one after the other in
// shared memory. On sm_90 a piece is one bulk copy that counts its bytes on an mbarrier; before, a
// warp's cp.async that arrive on it.
namespace thinkwire::worker::kernels {

inline constexpr int kSegmentKeys = 128;
inline constexpr int kPieceTokens = 16;
inline constexpr int kSegmentPieces = kSegmentKeys / kPieceTokens;
template <class Kv>
inline constexpr int kPieceBytes = kPieceTokens* Kv::kRowBytes;
template <class Kv>
inline constexpr int kTileBytes = kSegmentPieces* kPieceBytes<Kv>;  // keys or values of a segment

// How many arrivals a barrier that copies complete on waits for.
__device__ __forceinline__ constexpr int CopyArrivals() {
#if __CUDA_ARCH__ >= 900
  return 1;  // the lane that says how many bytes will come
#else
  return 32;  // each lane, once its own copies are done
#endif
}

// Pieces of segment `segment` that hold positions up to last_position; at most 0 where none does.
__device__ __forceinline__ int NumPieces(int segment, int last_position) {
  const int positions = last_position + 1 - segment * kSegmentKeys;
  return min(kSegmentPieces, (positions + kPieceTokens - 1) / kPieceTokens);
}

// Elements from a plane's start to this lane's piece of the segment. Lanes from num_pieces on have
// none and get 0.
__device__ __forceinline__ std::int64_t PieceOffset(const AttentionArgs& args,
                                                    const std::int32_t* block_table, int kv_head,
                                                    int segment, int num_pieces) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  if (lane >= num_pieces) return 0;
  const int position = segment * kSegmentKeys + lane * kPieceTokens;
  const int entry = position / args.block_tokens;
  return KvTokenOffset(block_table[entry], args.num_kv_heads, kv_head, args.block_tokens,
                       position - entry * args.block_tokens);
}

// The three steps of one tile's copy, each by all lanes of one warp: say how many pieces will come,
// copy them (`offset` from PieceOffset), end.
template <class Kv>
__device__ __forceinline__ void BeginCopy(std::uint32_t barrier, int num_pieces) {
#if __CUDA_ARCH__ >= 900
  // What other warps read of the tile before they let it go comes before the copy's writes.
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  if (threadIdx.x % 32 == 0) {
    ArriveExpecting(barrier, static_cast<std::uint32_t>(num_pieces * kPieceBytes<Kv>));
  }
  __syncwarp();
#endif
}

template <class Kv>
__device__ __forceinline__ void CopyPieces(const void* plane, std::int64_t offset,
                                           std::uint32_t tile, std::uint32_t barrier,
                                           int num_pieces) {
  constexpr int kBytes = kPieceBytes<Kv>;
  constexpr int kElementBytes = sizeof(typename Kv::Element);
  const auto* const from = static_cast<const std::byte*>(plane);
  const int lane = static_cast<int>(threadIdx.x % 32);
#if __CUDA_ARCH__ >= 900
  if (lane < num_pieces) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(tile + lane * kBytes),
        "l"(__cvta_generic_to_global(from + offset * kElementBytes)), "r"(kBytes), "r"(barrier)
        : "memory");
  }
#else
  for (int piece = 0; piece < num_pieces; ++piece) {
    const std::int64_t at = __shfl_sync(0xFFFFFFFFU, offset, piece);
    for (int i = lane * 16; i < kBytes; i += 32 * 16) {
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(tile + piece * kBytes + i),
                   "l"(__cvta_generic_to_global(from + at * kElementBytes + i))
                   : "memory");
    }
  }
#endif
}

__device__ __forceinline__ void EndCopy(std::uint32_t barrier) {
#if __CUDA_ARCH__ < 900
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
#endif
}

}  // namespace thinkwire::worker::kernels
