#pragma once

#include <cuda_bf16.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <variant>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/device/tensor_map.h"
#include "worker/kernels/cuda/linear/linear_outputs.cuh"
#include "worker/kernels/cuda/linear/unit_product.h"
#include "worker/kernels/cuda/linear/unit_product_kernel.cuh"

// y = x W^T for up to 64 tokens and packed weights of one format, each a source of its own (unit_*
// .cu): a stream over the weights, each read once, and multiplied with as bf16. The mapping is
// int4_product.cu's, as are tiles, ring and the one chain of k16 steps an output; what differs is
// how a warp makes bf16 of its units (unit_values.cuh).
//
// Roof: bytes of W at DRAM speed. What bounds it is making bf16, some 4 instructions a weight and
// lane for Q4_K and 5 for Q6_K: 16 x 128 weights take a warp 64 times as many.
//
// Limits: K a multiple of 128, x and W aligned to 16 bytes.
namespace thinkwire::worker::kernels {

template <UnitFormat kFormat, std::size_t kChoice, class Output>
void LaunchUnitShaped(const UnitProduct& op, const Output& output, cudaStream_t stream) {
  constexpr UnitShape kShape = UnitShapeOf(kFormat, kChoice);
  const auto kernel = &UnitProductKernel<kFormat, kChoice, Output>;
  // Each device keeps its own, and each rank's thread has another: at every launch, for under 1 us.
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  kShape.shared_bytes()));
  const UnitRows& w = op.weights;
  const auto tiles = static_cast<int>(Int4Tiles(w.rows, w.tiling));
  const int turns = (tiles + op.num_sms * kShape.tiles - 1) / (op.num_sms * kShape.tiles);
  const int groups = std::min(tiles, op.num_sms * turns);
  const Int4ProductInput input = {static_cast<const unsigned char*>(w.tiles),
                                  op.tokens,
                                  static_cast<int>(w.columns / kUnitColumns),
                                  tiles,
                                  groups,
                                  static_cast<int>(w.first_row)};
  Launch(kernel,
         {.grid = dim3(static_cast<unsigned>(std::min(groups, op.num_sms))),
          .block = dim3(kShape.threads()),
          .shared_bytes = static_cast<std::size_t>(kShape.shared_bytes())},
         stream, MakeBoxesMap(op.x, op.tokens, w.columns, kShape.tokens(), 2 * kShape.blocks),
         input, output);
}

// Launches choice `chosen`, which is kAt or a later one.
template <UnitFormat kFormat, std::size_t kAt = 0, class Output>
void LaunchUnitChosen(std::size_t chosen, const UnitProduct& op, const Output& output,
                      cudaStream_t stream) {
  if (chosen == kAt) {
    return LaunchUnitShaped<kFormat, FirstOfUnitShape(kFormat, kAt)>(op, output, stream);
  }
  if constexpr (kAt + 1 < kUnitChoices) {
    LaunchUnitChosen<kFormat, kAt + 1>(chosen, op, output, stream);
  }
}

inline StoreF32 StoreOf(const UnitProduct& op, const F32Output& output) {
  return {output.out.as<float>(), static_cast<int>(op.all_rows), op.tokens};
}
inline StoreBf16 StoreOf(const UnitProduct& op, const Bf16Output& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.all_rows), op.tokens};
}
inline StoreSwiGlu StoreOf(const UnitProduct& op, const SwiGluOutput& output) {
  return {output.out.as<__nv_bfloat16>(), static_cast<int>(op.all_rows), op.tokens};
}
inline StoreQkv StoreOf(const UnitProduct& op, const QkvOutput& output) {
  return {MakeQkvTarget(op.all_rows, op.tokens, op.bias, output.rope, output.batch, output.kv,
                        output.q),
          static_cast<int>(op.all_rows), op.tokens};
}

// LaunchUnitProduct of one format.
template <UnitFormat kFormat>
void LaunchUnitProductOf(const UnitProduct& op, const LinearOutput& output, cudaStream_t stream) {
  static_assert(UnitShapesFit(kFormat));
  const UnitRows& w = op.weights;
  const std::size_t chosen =
      ChooseUnitShape(op.tokens, Int4Tiles(w.rows, w.tiling), op.num_sms, w.tiling);
  std::visit(
      [&](const auto& to) { LaunchUnitChosen<kFormat>(chosen, op, StoreOf(op, to), stream); },
      output);
}

extern template void LaunchUnitProductOf<UnitFormat::kQ4K>(const UnitProduct&, const LinearOutput&,
                                                           cudaStream_t);
extern template void LaunchUnitProductOf<UnitFormat::kQ5K>(const UnitProduct&, const LinearOutput&,
                                                           cudaStream_t);
extern template void LaunchUnitProductOf<UnitFormat::kQ6K>(const UnitProduct&, const LinearOutput&,
                                                           cudaStream_t);
extern template void LaunchUnitProductOf<UnitFormat::kQ8_0>(const UnitProduct&, const LinearOutput&,
                                                            cudaStream_t);
extern template void LaunchUnitProductOf<UnitFormat::kFp8>(const UnitProduct&, const LinearOutput&,
                                                           cudaStream_t);

}  // namespace thinkwire::worker::kernels
