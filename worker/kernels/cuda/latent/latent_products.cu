#include <cuda_bf16.h>

#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/barrier.cuh"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/latent/latent_ops.h"
#include "worker/kernels/cuda/tiles/tile_product.cuh"

// A product a head, each with its own columns of x: out[t, h] = x[t, h] W_h^T, rounded once.
//
// Mapping: a warp computes 16 rows of one head's W for up to 64 tokens by tile_product.cuh, blocks
// of four warps along the rows of all heads, blockIdx.y along the tokens. Weights are asked for
// before the previous kernel has ended: they never change. Bytes: W once for every
// 64 tokens; 2 x 16.8 MB a layer at R1's 128 heads. Limits: K in 16s, rows in 16s.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;

struct Args {
  const std::uint8_t* tiles;
  std::int64_t tile_bytes;
  int tiles_of_head;
  int num_tiles;  // of all heads
  int steps;
  const __nv_bfloat16* x;
  std::int64_t x_width;
  int x_stride;
  __nv_bfloat16* out;
  std::int64_t out_width;
  int out_stride;
  int tokens;
};

template <int kSubs>
constexpr int kRing = TileRingBytes<TileFormat::kBf16, kSubs>();

template <int kSubs>
__global__ __launch_bounds__(32 * kWarps) void HeadProductKernel(Args args) {
  extern __shared__ __align__(16) unsigned char rings[];
  const int tile = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  if (tile >= args.num_tiles) return;
  const TileProduct<TileFormat::kBf16, kSubs> product(
      args.tiles + tile * args.tile_bytes, args.steps,
      SharedAddress(rings + threadIdx.x / 32 * kRing<kSubs>));
  AllowNext();
  WaitForPrevious();
  const int head = tile / args.tiles_of_head;
  const int first = static_cast<int>(blockIdx.y) * 8 * kSubs;
  const int g = static_cast<int>(threadIdx.x % 32 / 4);
  const int t = static_cast<int>(threadIdx.x % 4);
  const __nv_bfloat16* rows[kSubs];
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
    const int token = first + 8 * s + g;
    rows[s] = token < args.tokens ? args.x + token * args.x_width + head * args.x_stride : nullptr;
  }
  float sums[kSubs][4];
  product.Run(rows, sums);
  const int row = head * args.out_stride + tile % args.tiles_of_head * kTileMatrixRows + g;
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const int token = first + 8 * s + 2 * t + i;
      if (token >= args.tokens) continue;
      __nv_bfloat16* const to = args.out + token * args.out_width + row;
      to[0] = __float2bfloat16_rn(sums[s][i]);
      to[8] = __float2bfloat16_rn(sums[s][i + 2]);
    }
  }
}

template <int kSubs>
void LaunchOf(const Args& args, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((args.num_tiles + kWarps - 1) / kWarps);
  const auto groups = static_cast<unsigned>((args.tokens + 8 * kSubs - 1) / (8 * kSubs));
  constexpr int kRings = kWarps * kRing<kSubs>;
  // Each device keeps its own: at every launch, for under 1 us.
  CUDA_CHECK(cudaFuncSetAttribute(&HeadProductKernel<kSubs>,
                                  cudaFuncAttributeMaxDynamicSharedMemorySize, kRings));
  Launch(&HeadProductKernel<kSubs>,
         {.grid = dim3(blocks, groups), .block = dim3(32 * kWarps), .shared_bytes = kRings}, stream,
         args);
}

}  // namespace

void LaunchHeadProduct(const HeadProduct& op, cudaStream_t stream) {
  const HeadMatrices& matrices = op.matrices;
  if (op.x.dim(0) == 0) return;
  Check(op.x.dtype == DType::kBf16 && op.out.dtype == DType::kBf16 && op.x_stride % 4 == 0 &&
            op.x.dim(1) % 4 == 0 && op.x.dim(0) == op.out.dim(0),
        "x, out are bf16 [T, any], x's columns in fours");
  const std::int64_t tile_bytes = TileBytes(TileFormat::kBf16, matrices.columns);
  const std::int64_t tiles = matrices.rows / kTileMatrixRows;
  const Args args = {.tiles = static_cast<const std::uint8_t*>(matrices.tiles.data()) +
                              op.first * tiles * tile_bytes,
                     .tile_bytes = tile_bytes,
                     .tiles_of_head = static_cast<int>(tiles),
                     .num_tiles = static_cast<int>(tiles * op.count),
                     .steps = static_cast<int>(matrices.columns / kTileStep),
                     .x = op.x.as<__nv_bfloat16>() + op.first * op.x_stride,
                     .x_width = op.x.dim(1),
                     .x_stride = static_cast<int>(op.x_stride),
                     .out = op.out.as<__nv_bfloat16>(),
                     .out_width = op.out.dim(1),
                     .out_stride = static_cast<int>(op.out_stride),
                     .tokens = static_cast<int>(op.x.dim(0))};
  if (args.tokens <= 8) return LaunchOf<1>(args, stream);
  if (args.tokens <= 32) return LaunchOf<4>(args, stream);
  LaunchOf<8>(args, stream);
}

}  // namespace thinkwire::worker::kernels
