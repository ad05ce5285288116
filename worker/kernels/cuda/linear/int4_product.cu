#include <cuda_bf16.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <variant>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/linear/int4_product.h"
#include "worker/kernels/cuda/linear/int4_product_kernel.cuh"
#include "worker/kernels/cuda/linear/int4_product_shape.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"

// y = x W^T for up to 64 tokens and weights of 4 bits: a stream over the weights, each read once,
// and multiplied with as bf16. Names of numbers are those of Int4Shape; the kernel is in
// int4_product_kernel.cuh.
//
// Mapping. The tiles of W (int4_layout.h) are shared out to groups of at most `tiles` each, as
// equal as can be, and a block owns groups, one after another. One warp asks the copy engine for
// stages of blocks * 128 columns of the group's tiles, packed, and another for those of all tokens,
// in a ring in shared memory. Four warps a tile make bf16 (int4_values.cuh), half a block of
// columns ahead, in the registers from which the tensor core takes them as the A operand, with the
// tokens as B: one chain of k16 steps an output, in ascending K, which is never split. So a token's
// bits are those of small_linear.h, tile_linear.h and large_linear.h with the same weights in bf16.
//
// Roof: bytes of W at DRAM speed. What bounds it today is making bf16: some 190 instructions of a
// warp for 2,048 weights, of which 100 multiply pairs of bf16 at one in two cycles: in a kernel
// with wgmma the compiler has them all in the one of two pipelines that can run beside it.
//
// Limits: K a multiple of 128, x and W aligned to 16 bytes.
namespace thinkwire::worker::kernels {
namespace {

static_assert(Int4ChoicesAreComplete(kInt4ProductTokens));

template <std::size_t kChoice, class Output>
void LaunchShaped(const Int4Product& op, const Output& output, cudaStream_t stream) {
  constexpr Int4Shape kShape = kInt4Choices[kChoice].shape;
  const auto kernel = &Int4ProductKernel<kChoice, Output>;
  // Each device keeps its own, and each rank's thread has another: at every launch, for under 1 us.
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kShape.shared_bytes()));
  const auto tiles = static_cast<int>(Int4Tiles(op.rows, op.tiling));
  const int slots = op.num_sms * kShape.residents();
  const int turns = (tiles + slots * kShape.tiles - 1) / (slots * kShape.tiles);
  const int groups = std::min(tiles, slots * turns);
  const Int4ProductInput input = {static_cast<const unsigned char*>(op.weights), op.tokens,
                                  static_cast<int>(op.columns / kInt4Columns), tiles, groups};
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(std::min(groups, slots))),
          .block = dim3(kShape.threads()),
          .shared_bytes = static_cast<std::size_t>(kShape.shared_bytes())},
         stream, MakeBoxesMap(op.x, op.tokens, op.columns, kShape.tokens(), 2 * kShape.blocks),
         input, output);
}

// Launches choice `chosen`, which is kAt or a later one.
template <std::size_t kAt = 0, class Output>
void LaunchChosen(std::size_t chosen, const Int4Product& op, const Output& output,
                  cudaStream_t stream) {
  if (chosen == kAt) return LaunchShaped<FirstOfInt4Shape(kAt)>(op, output, stream);
  if constexpr (kAt + 1 < std::size(kInt4Choices)) {
    LaunchChosen<kAt + 1>(chosen, op, output, stream);
  }
}

StoreF32 StoreOf(const Int4Product& op, const F32Output& output) {
  return {output.out.as<float>(), static_cast<int>(op.rows), op.tokens};
}
StoreBf16 StoreOf(const Int4Product& op, const Bf16Output& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.rows), op.tokens};
}
StoreSwiGlu StoreOf(const Int4Product& op, const SwiGluOutput& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.rows), op.tokens};
}
StoreQkv StoreOf(const Int4Product& op, const QkvOutput& output) {
  return {
      MakeQkvTarget(op.rows, op.tokens, op.bias, output.rope, output.batch, output.kv, output.q),
      static_cast<int>(op.rows), op.tokens};
}

}  // namespace

void LaunchInt4Product(const Int4Product& op, const LinearOutput& output, cudaStream_t stream) {
  Check(op.tokens >= 1 && op.tokens <= kInt4ProductTokens, "at most 64 tokens");
  Check(op.columns % kInt4Columns == 0, "rows of W are whole blocks of 128 columns");
  const std::int64_t tiles_an_sm = (Int4Tiles(op.rows, op.tiling) + op.num_sms - 1) / op.num_sms;
  const std::size_t chosen = ChooseInt4Shape(op.tokens, tiles_an_sm, op.tiling);
  std::visit([&](const auto& to) { LaunchChosen(chosen, op, StoreOf(op, to), stream); }, output);
}

}  // namespace thinkwire::worker::kernels
