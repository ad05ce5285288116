#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/cuda_linear.h"
#include "worker/kernels/cuda/linear/fp8_product.h"
#include "worker/kernels/cuda/linear/linear_tools.h"

namespace thinkwire::worker::kernels {

// Weights in FP8 whose inputs are rounded to FP8 too, each token's by a scale of its own
// (quantize_rows.h), so that tensor cores multiply one by the other in the order that fp8_product.h
// says: at twice the rate of bf16, and without making bf16 of anything. Rows in the order that
// row_order.h gives. What a rank has of a row that is split between ranks has a scale of its own.
// A norm before it is rounded on the way, without its result in bf16.
// Owns: the codes, their scales and the bias.
class Fp8Linear final : public CudaLinear {
 public:
  // Whether this GPU was told to multiply so and can, and these are parts in FP8, with columns in
  // their own order and not more than a row that is rounded may have.
  static bool Takes(std::span<const WeightSlice> parts, const LinearTools& tools);

  // Done on return.
  // REQUIRES: Takes, and what MakeLinear does; tools outlive the weight's use in ops.
  static std::unique_ptr<Fp8Linear> Make(std::span<const WeightSlice> parts,
                                         std::span<const WeightSlice> bias, LinearLayout layout,
                                         LinearTools& tools);

  std::size_t bytes() const override { return codes_.bytes() + scales_.bytes() + bias_.bytes(); }

 private:
  Fp8Linear(LinearLayout layout, const LinearShape& shape, Buffer codes, Buffer scales, Buffer bias,
            LinearTools& tools);

  void Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const override;

  const Buffer codes_;   // Fp8Rows's
  const Buffer scales_;  // likewise
  const Buffer bias_;    // bf16 [out] or none
  LinearTools& tools_;
};

}  // namespace thinkwire::worker::kernels
