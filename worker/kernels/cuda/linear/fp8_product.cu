#include <cuda_bf16.h>

#include <type_traits>
#include <variant>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/linear/fp8_product.h"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/tiles/tile_product.cuh"

// Products with weights of FP8 for few tokens, and the weights as bf16 for many.
//
// Mapping: a warp has 16 rows of W and all tokens by tile_product.cuh, so that W is read once; four
// warps a block, as many blocks as the rows ask for. Roof: 1.03 bytes a weight at DRAM speed.
// Expanded, a warp takes 16 x 128 weights at a time and stores four to a row in a lane.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kWarps = 4;

template <int kSubs, class Store>
__global__ __launch_bounds__(32 * kWarps) void Fp8ProductKernel(const std::uint8_t* tiles,
                                                                int num_tiles, int columns,
                                                                const __nv_bfloat16* x, int tokens,
                                                                Store store) {
  WaitForPrevious();
  AllowNext();
  const int tile = static_cast<int>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  if (tile >= num_tiles) return;
  const int g = static_cast<int>(threadIdx.x % 32 / 4);
  const int t = static_cast<int>(threadIdx.x % 4);
  const __nv_bfloat16* rows[kSubs];
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
    const int token = 8 * s + g;
    rows[s] = token < tokens ? x + static_cast<std::int64_t>(token) * columns : nullptr;
  }
  float sums[kSubs][4];
  const std::int64_t bytes = std::int64_t{columns} / kFp8Columns * kFp8TileBytes;
  TileProduct<TileFormat::kFp8, kSubs>(tiles + tile * bytes, columns / kTileStep, rows, sums);
#pragma unroll
  for (int s = 0; s < kSubs; ++s) {
    store(tile * kTileMatrixRows + g, 8 * s + 2 * t, sums[s], nullptr);
  }
}

template <class Store>
void LaunchStored(const Fp8Tiles& weights, const Tensor& x, const Store& store,
                  cudaStream_t stream) {
  const auto tokens = static_cast<int>(x.dim(0));
  const auto tiles = static_cast<int>(weights.rows / kTileMatrixRows);
  const auto launch = [&](auto kernel) {
    Launch(kernel,
           {.grid = dim3(static_cast<unsigned>((tiles + kWarps - 1) / kWarps)),
            .block = dim3(32 * kWarps)},
           stream, static_cast<const std::uint8_t*>(weights.data), tiles,
           static_cast<int>(weights.columns), x.as<__nv_bfloat16>(), tokens, store);
  };
  if (tokens <= 8) return launch(&Fp8ProductKernel<1, Store>);
  if (tokens <= 16) return launch(&Fp8ProductKernel<2, Store>);
  if (tokens <= 32) return launch(&Fp8ProductKernel<4, Store>);
  launch(&Fp8ProductKernel<8, Store>);
}

__global__ __launch_bounds__(32 * kWarps) void Fp8ExpandKernel(const std::uint8_t* tiles,
                                                               std::int64_t blocks, int columns,
                                                               __nv_bfloat16* out) {
  WaitForPrevious();
  AllowNext();
  using Piece = TilePiece<TileFormat::kFp8>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const std::int64_t of_row = columns / kFp8Columns;
  const std::int64_t at =
      static_cast<std::int64_t>(blockIdx.x) * kWarps + static_cast<int>(threadIdx.x / 32);
  if (at >= blocks) return;
  Piece piece;
  piece.Load(tiles + at * kFp8TileBytes, 0, Piece::kSteps, lane);
  __nv_bfloat16* const to = out + (at / of_row * kTileMatrixRows + lane / 4) * columns +
                            at % of_row * kFp8Columns + lane % 4 * 4;
#pragma unroll
  for (int i = 0; i < Piece::kSteps; ++i) {
    std::uint32_t a[4];
    piece.Weights(i, a);
    *reinterpret_cast<uint2*>(to + i * kTileStep) = make_uint2(a[0], a[2]);
    *reinterpret_cast<uint2*>(to + i * kTileStep + std::int64_t{8} * columns) =
        make_uint2(a[1], a[3]);
  }
}

StoreF32 StoreOf(const F32Output& output, int rows, int tokens) {
  return {output.out.as<float>(), rows, tokens};
}
StoreBf16 StoreOf(const Bf16Output& output, int rows, int tokens) {
  return {output.out.as<__nv_bfloat16>(), rows, tokens};
}
StoreSwiGlu StoreOf(const SwiGluOutput& output, int rows, int tokens) {
  return {output.out.as<__nv_bfloat16>(), rows, tokens};
}

}  // namespace

void LaunchFp8Product(const Fp8Tiles& weights, const Tensor& x, const LinearOutput& output,
                      cudaStream_t stream) {
  Check(x.dim(0) >= 1 && x.dim(0) <= kFp8ProductTokens, "at most 64 tokens");
  Check(weights.rows % kTileMatrixRows == 0 && weights.columns % kFp8Columns == 0,
        "a weight of FP8 is whole tiles");
  std::visit(
      [&](const auto& to) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(to)>, QkvOutput>) {
          Check(false, "queries, keys and values have another product");
        } else {
          LaunchStored(weights, x,
                       StoreOf(to, static_cast<int>(weights.rows), static_cast<int>(x.dim(0))),
                       stream);
        }
      },
      output);
}

void LaunchFp8Expand(const Fp8Tiles& weights, void* out, cudaStream_t stream) {
  const std::int64_t blocks = weights.rows / kTileMatrixRows * (weights.columns / kFp8Columns);
  Launch(&Fp8ExpandKernel,
         {.grid = dim3(static_cast<unsigned>((blocks + kWarps - 1) / kWarps)),
          .block = dim3(32 * kWarps)},
         stream, static_cast<const std::uint8_t*>(weights.data), blocks,
         static_cast<int>(weights.columns), static_cast<__nv_bfloat16*>(out));
}

}  // namespace thinkwire::worker::kernels
