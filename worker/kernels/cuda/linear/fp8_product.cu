#include <cuda_bf16.h>

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <variant>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/linear/fp8_product.h"
#include "worker/kernels/cuda/linear/fp8_product_kernel.cuh"
#include "worker/kernels/cuda/linear/fp8_product_shape.cuh"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"

// y = x W^T with e4m3 on both sides, in the order that fp8_product.h says.
//
// Mapping. A block owns tiles of 64 rows of W a group of four warps by up to `tokens` tokens, one
// after another, tokens first. One warp asks the copy engine for stages of `parts` times 128
// columns of the tile's rows and tokens, and of the rows' scales, in a ring in shared memory. Four
// warps multiply 64 rows, as the A operand, by all the tokens, as B, whose number may be any
// multiple of 8; each thread then has sums of rows g and g + 8, and so two scales a part.
//
// Memory. As in tile_linear.cu: swizzled boxes of rows of 128 bytes, weights requested before the
// previous kernel has ended, a ring of some 200 KB.
//
// Roof: bytes of W at DRAM speed up to some 200 tokens; for many, the tensor cores: 64 rows by 128
// columns by 2 tokens in 4 cycles. A part's sums take as many fused adds as it has numbers, a
// quarter of the cycles of its steps.
//
// Limits: K a multiple of 128, x and W aligned to 16 bytes.
namespace thinkwire::worker::kernels {
namespace {

// A matrix of e4m3 as boxes of 128 columns, which are as many bytes as 64 of bf16.
CUtensorMap MakeCodesMap(const void* codes, std::int64_t rows, std::int64_t columns, int box_rows) {
  return MakeRowMap(codes, rows, columns / 2, kBoxColumns, box_rows);
}

template <std::size_t kChosen, class Output>
void LaunchShaped(const Fp8Product& op, const Output& output, cudaStream_t stream) {
  constexpr Fp8Shape kShape = kFp8Shapes[kChosen];
  const auto kernel = &Fp8ProductKernel<kChosen, Output>;
  // Each device keeps its own, and each rank's thread has another: at every launch, for under 1 us.
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kShape.ring_bytes()));
  const Fp8Rows& w = op.weights;
  const Fp8Grid grid = GridOf(kShape, w.rows, op.x.count, op.num_sms);
  const Fp8Input input = {.row_scales = w.scales,
                          .token_scales = op.x.scales,
                          .tokens = op.x.count,
                          .parts = static_cast<int>(w.columns / kFp8Part),
                          .scale_parts = static_cast<int>(Fp8ScaleParts(w.columns)),
                          .tile_tokens = grid.tile_tokens,
                          .token_tiles = grid.token_tiles,
                          .tiles = grid.tiles};
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(grid.blocks)),
          .block = dim3(kShape.threads()),
          .shared_bytes = static_cast<std::size_t>(kShape.ring_bytes())},
         stream, MakeCodesMap(w.codes, w.rows, w.columns, kShape.rows()),
         MakeCodesMap(op.x.codes, op.x.count, w.columns, grid.tile_tokens), input, output);
}

// Launches shape `chosen`, which is kAt or a later one.
template <std::size_t kAt = 0, class Output>
void LaunchIn(std::size_t chosen, const Fp8Product& op, const Output& output, cudaStream_t stream) {
  if (chosen == kAt) return LaunchShaped<kAt>(op, output, stream);
  if constexpr (kAt + 1 < std::size(kFp8Shapes)) LaunchIn<kAt + 1>(chosen, op, output, stream);
}

StoreF32 StoreOf(const Fp8Product& op, const F32Output& output) {
  return {output.out.as<float>(), static_cast<int>(op.weights.rows), op.x.count};
}
StoreBf16 StoreOf(const Fp8Product& op, const Bf16Output& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.weights.rows), op.x.count};
}
StoreSwiGlu StoreOf(const Fp8Product& op, const SwiGluOutput& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.weights.rows), op.x.count};
}
StoreQkv StoreOf(const Fp8Product& op, const QkvOutput& output) {
  return {MakeQkvTarget(op.weights.rows, op.x.count, op.bias, output.rope, output.batch, output.kv,
                        output.q),
          static_cast<int>(op.weights.rows), op.x.count};
}

}  // namespace

void LaunchFp8Product(const Fp8Product& op, const LinearOutput& output, cudaStream_t stream) {
  Check(op.weights.columns % kFp8Part == 0, "K is whole parts of 128 columns");
  const std::size_t chosen = ChooseFp8Shape(op.weights.rows, op.x.count, op.num_sms);
  std::visit([&](const auto& to) { LaunchIn(chosen, op, StoreOf(op, to), stream); }, output);
}

}  // namespace thinkwire::worker::kernels
