#include <cuda_bf16.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <variant>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/tile_linear.h"
#include "worker/kernels/cuda/linear/tile_linear_kernel.cuh"
#include "worker/kernels/cuda/linear/tile_linear_shape.cuh"

// y = x W^T for 17 to 256 tokens. Names of numbers are those of TileShape and TileGrid; the kernel
// is in tile_linear_kernel.cuh.
//
// Mapping. A block owns tiles of `rows` rows of W by up to 64 token_groups tokens, one after
// another. One warp asks the copy engine for stages of boxes * 64 columns of the tile's rows and
// tokens, in a ring in shared memory. Four warps a token group run one chain of k16 steps an
// output, in ascending K, with tokens as the A operand (64 of them) and weights as B, whose number
// may be any multiple of 8: rows are what must come out even over the multiprocessors. K is never
// split, so that a token's bits are those of small_linear.h and large_linear.h.
//
// Memory. As in small_linear.cu: swizzled boxes of 128-byte rows, weights requested before the
// previous kernel has ended, a ring of some 200 KB. Where two token tiles stand side by side a
// cluster of two brings their weights once. Boxes have no tokens but those there are: a row beyond
// the matrix costs the copy engine twice what it takes to read one. What lies in shared memory in
// their place is multiplied too, but only into sums that nobody stores.
//
// Roof: bytes of W at DRAM speed, or what a multiprocessor takes in, 125 GB/s on an H200: of W and
// the tokens alike, which is why tiles are not just as wide as there are tokens (TileCost).
//
// Limits: K and rows multiples of 8 (columns up to the next 64 read as zero).
namespace thinkwire::worker::kernels {
namespace {

static_assert(TilesArePossible());

template <std::size_t kTile, class Output>
void LaunchShaped(const TileLinear& op, const TileProduct& product, const Output& output,
                  cudaStream_t stream) {
  constexpr TileShape kShape = kTileShapes[kTile];
  const auto kernel = &TileLinearKernel<kTile, Output>;
  // Each device keeps its own, and each rank's thread has another: at every launch, for under 1 us.
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kShape.ring_bytes()));
  const TileGrid grid = GridOf(kShape, product);
  const TileInput input = {.columns = static_cast<int>(op.columns),
                           .row_tiles = grid.row_tiles,
                           .row_clusters = grid.row_clusters,
                           .token_tiles = grid.token_tiles,
                           .tile_tokens = grid.tile_tokens,
                           .weights_once = grid.token_tiles == kShape.sharers};
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(grid.row_clusters * grid.token_tiles)),
          .block = dim3(kShape.threads()),
          .shared_bytes = static_cast<std::size_t>(kShape.ring_bytes()),
          .cluster = static_cast<unsigned>(kShape.sharers)},
         stream, MakeRowMap(op.weights, op.rows, op.columns, kBoxColumns, kShape.rows),
         MakeRowMap(op.x, op.tokens, op.columns, kBoxColumns, grid.tile_tokens), input, output);
}

TileProduct ProductOf(const TileLinear& op) { return {op.rows, op.columns, op.tokens, op.num_sms}; }

// Launches shape `chosen`, which is kAt or a later one. False if the output does not take it.
template <class Output, std::size_t kAt = 0>
bool LaunchIn(std::size_t chosen, const TileLinear& op, const Output& output, cudaStream_t stream) {
  if constexpr (kAt == std::size(kTileShapes)) {
    return false;
  } else {
    if (chosen != kAt) return LaunchIn<Output, kAt + 1>(chosen, op, output, stream);
    if constexpr (Output::kPairsRows && kTileShapes[kAt].rows % 16 != 0) {
      return false;
    } else {
      LaunchShaped<kAt>(op, ProductOf(op), output, stream);
      return true;
    }
  }
}

StoreF32 StoreOf(const TileLinear& op, const F32Output& output) {
  return {output.out.as<float>(), static_cast<int>(op.rows), op.tokens};
}
StoreBf16 StoreOf(const TileLinear& op, const Bf16Output& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.rows), op.tokens};
}
StoreSwiGlu StoreOf(const TileLinear& op, const SwiGluOutput& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.rows), op.tokens};
}
StoreQkv StoreOf(const TileLinear& op, const QkvOutput& output) {
  return {
      MakeQkvTarget(op.rows, op.tokens, op.bias, output.rope, output.batch, output.kv, output.q),
      static_cast<int>(op.rows), op.tokens};
}

bool PairsRows(const LinearOutput& output) {
  return std::holds_alternative<SwiGluOutput>(output) || std::holds_alternative<QkvOutput>(output);
}

}  // namespace

std::int64_t MostTileTokens(const LinearOutput& output, std::int64_t rows) {
  if (rows % 8 != 0) return 0;
  return std::holds_alternative<F32Output>(output) ? kWarpgroupTokens : kTileLinearTokens;
}

void LaunchTileLinear(const TileLinear& op, const LinearOutput& output, cudaStream_t stream) {
  Check(op.tokens >= 1 && op.tokens <= MostTileTokens(output, op.rows),
        "as many tokens as the tiles are for");
  Check(LaunchTileLinearIn(ChosenTileShape(op, output), op, output, stream),
        "the output takes the chosen shape");
}

int NumTileShapes() { return static_cast<int>(std::size(kTileShapes)); }

int ChosenTileShape(const TileLinear& op, const LinearOutput& output) {
  return static_cast<int>(ChooseTile(ProductOf(op), PairsRows(output)));
}

std::string NameOfTileShape(int shape) {
  const TileShape& of = kTileShapes[shape];
  return std::to_string(of.rows) + "x" + std::to_string(of.tokens()) +
         (of.sharers > 1 ? " shared" : "");
}

bool LaunchTileLinearIn(int shape, const TileLinear& op, const LinearOutput& output,
                        cudaStream_t stream) {
  Check(op.columns % 8 == 0 && op.rows % 8 == 0, "rows of W are whole pieces of 16 bytes");
  return std::visit(
      [&](const auto& to) {
        return LaunchIn(static_cast<std::size_t>(shape), op, StoreOf(op, to), stream);
      },
      output);
}

}  // namespace thinkwire::worker::kernels
