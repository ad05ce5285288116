#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/bf16_pieces.cuh"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/norm/rms_norm.h"
#include "worker/kernels/cuda/norm/row_norm.cuh"
#include "worker/kernels/cuda/peer/peer_add_rms_norm.h"

// All-reduce, residual and norm of a few rows in one kernel a rank. Every block has one row: it
// writes its part into all other ranks' inboxes, over NVLink, waits for theirs in its own, and adds
// up all in rank order. Lines carry their epoch in the same 16 bytes (as NCCL's LL protocol): each
// 8-byte half arrives whole, so data need neither a fence nor a second trip for a flag.
//
// Epochs count up on the device, row by row, so that a replayed graph goes on where the last ended.
// An inbox has two sides, taken in turn. A rank overwrites a side in epoch n + 2 only after it has
// received the row of epoch n + 1, which its peer sent in a kernel that began when the one of epoch
// n, and all its reading, had ended. Nothing else orders the ranks.
//
// No deadlock: a block waits only for the same row's block of the other ranks, which sends before
// it waits; blocks start in ascending order on every rank, and dependents start after all of them.
// Mapping: row_norm.cuh's. Bytes: T * E * 4 to each peer. Latency at one row: two trips to L2, one
// over NVLink and the norm.
namespace thinkwire::worker::kernels {
namespace {

// Volatile accesses are relaxed ones at system scope; each 8-byte half is one access.
__device__ __forceinline__ void StoreLine(uint4* line, std::uint32_t low, std::uint32_t high,
                                          std::uint32_t epoch) {
  asm volatile("st.volatile.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(line), "r"(low),
               "r"(epoch), "r"(high), "r"(epoch)
               : "memory");
}

__device__ __forceinline__ uint4 LoadLine(const uint4* line) {
  uint4 value;
  asm volatile("ld.volatile.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "l"(line)
               : "memory");
  return value;
}

__device__ __forceinline__ bool HasArrived(const uint4& line, std::uint32_t epoch) {
  return line.y == epoch && line.w == epoch;
}

// First line of a row that `source` sends in `epoch`.
__device__ __forceinline__ std::int64_t FirstLine(const PeerView& view, int source, int row,
                                                  std::uint32_t epoch) {
  const std::int64_t side = epoch & 1U;
  return ((side * view.ranks + source) * view.max_rows + row) * 2 * view.pieces;
}

// Waits for this thread's pieces of the row at `lines`: asks for all of them at once, until all are
// of this epoch.
template <int kPieces>
__device__ __forceinline__ void Receive(const PeerView& view, const uint4* lines,
                                        std::uint32_t epoch, uint4 (&part)[kPieces]) {
  bool is_complete;
  do {
    uint4 low[kPieces];
    uint4 high[kPieces];
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
      if (piece >= view.pieces) break;
      low[j] = LoadLine(lines + piece);
      high[j] = LoadLine(lines + view.pieces + piece);
    }
    is_complete = true;
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
      if (piece >= view.pieces) break;
      is_complete = is_complete && HasArrived(low[j], epoch) && HasArrived(high[j], epoch);
      part[j] = make_uint4(low[j].x, low[j].z, high[j].x, high[j].z);
    }
  } while (!is_complete);
}

template <int kPieces>
__global__ __launch_bounds__(kRowThreads) void PeerAddRmsNormKernel(
    const __grid_constant__ PeerView view, const uint4* partial, const uint4* residual, uint4* sum,
    const uint4* weight, float eps, float width, uint4* out) {
  __shared__ float warp_sums[kRowWarps];
  AllowNext();
  const int row = static_cast<int>(blockIdx.x);
  const std::int64_t row_start = static_cast<std::int64_t>(row) * view.pieces;
  uint4 scale[kPieces];
  uint4 own[kPieces];
  uint4 rest[kPieces];
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece < view.pieces) scale[j] = weight[piece];
  }
  WaitForPrevious();
  const std::uint32_t epoch = view.epochs[row] + 1;
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece >= view.pieces) break;
    own[j] = partial[row_start + piece];
    rest[j] = residual[row_start + piece];
  }
  const std::int64_t sent_line = FirstLine(view, view.rank, row, epoch);
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece >= view.pieces) break;
    for (int r = 0; r < view.ranks; ++r) {
      if (r == view.rank) continue;
      uint4* const lines = view.inboxes[r] + sent_line + piece;
      StoreLine(lines, own[j].x, own[j].y, epoch);
      StoreLine(lines + view.pieces, own[j].z, own[j].w, epoch);
    }
  }
  Eight sums[kPieces];
  for (int r = 0; r < view.ranks; ++r) {
    uint4 part[kPieces];
    if (r == view.rank) {
#pragma unroll
      for (int j = 0; j < kPieces; ++j) part[j] = own[j];
    } else {
      Receive<kPieces>(view, view.inboxes[view.rank] + FirstLine(view, r, row, epoch), epoch, part);
    }
#pragma unroll
    for (int j = 0; j < kPieces; ++j) {
      sums[j] = r == 0 ? Widen(part[j]) : Add(sums[j], Widen(part[j]));
    }
  }
  float square_sum = 0.0F;
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece >= view.pieces) break;
    const Eight all = Widen(Narrow(sums[j]));
    const uint4 rounded = Narrow(Add(Widen(rest[j]), all));
    sum[row_start + piece] = rounded;
    sums[j] = Widen(rounded);
    square_sum = AddSquares(sums[j], square_sum);
  }
  const float factor = NormFactor(SumOverBlock(square_sum, warp_sums), width, eps);
  if (threadIdx.x == 0) view.epochs[row] = epoch;  // after SumOverBlock: all threads have read it
#pragma unroll
  for (int j = 0; j < kPieces; ++j) {
    const int piece = static_cast<int>(threadIdx.x) + j * kRowThreads;
    if (piece < view.pieces) out[row_start + piece] = Normed(sums[j], factor, scale[j]);
  }
}

template <int kPieces>
void LaunchShaped(const PeerView& view, const ResidualNorm& norm, cudaStream_t stream) {
  Launch(&PeerAddRmsNormKernel<kPieces>,
         {.grid = dim3(static_cast<unsigned>(norm.out.dim(0))), .block = dim3(kRowThreads)}, stream,
         view, static_cast<const uint4*>(norm.partial.data),
         static_cast<const uint4*>(norm.residual.data), static_cast<uint4*>(norm.sum.data),
         static_cast<const uint4*>(norm.weight.data), norm.eps, static_cast<float>(norm.out.dim(1)),
         static_cast<uint4*>(norm.out.data));
}

}  // namespace

void LaunchPeerAddRmsNorm(const PeerView& view, const ResidualNorm& norm, cudaStream_t stream) {
  CheckResidualNorm(norm);
  Check(norm.partial.data != nullptr, "every rank has a part");
  Check(norm.out.dim(0) <= view.max_rows && norm.out.dim(1) == std::int64_t{8} * view.pieces,
        "the group exchanges rows of another size, or fewer");
  if (norm.out.dim(0) == 0) return;
  const int pieces = (view.pieces + kRowThreads - 1) / kRowThreads;
  static_assert(kMaxPeerWidth <= 4 * kRowThreads * 8);
  if (pieces == 1) return LaunchShaped<1>(view, norm, stream);
  if (pieces == 2) return LaunchShaped<2>(view, norm, stream);
  LaunchShaped<4>(view, norm, stream);
}

}  // namespace thinkwire::worker::kernels
