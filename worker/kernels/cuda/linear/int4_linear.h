#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/cuda_linear.h"
#include "worker/kernels/cuda/linear/expanded_product.h"
#include "worker/kernels/cuda/linear/int4_layout.h"
#include "worker/kernels/cuda/linear/linear_tools.h"

namespace thinkwire::worker::kernels {

// Weights of 4 bits (int4_layout.h), rows in the order that row_order.h gives. Up to 64 tokens are
// multiplied by our own stream over the packed weights (int4_product.h); for more the weight is
// made bf16 in memory that all weights share, and multiplied as one (bf16_linear.h). Both give a
// token the bits that a bf16 weight of the same numbers gives it.
// Owns: the packed matrix and the bias.
class Int4Linear final : public CudaLinear {
 public:
  // Whether parts are all of 4 bits and this GPU multiplies with them.
  static bool Takes(std::span<const WeightSlice> parts, const LinearTools& tools);

  // Takes the shared memory too. Done on return.
  // REQUIRES: Takes, and what MakeLinear does; tools outlive the weight's use in ops.
  static std::unique_ptr<Int4Linear> Make(std::span<const WeightSlice> parts,
                                          std::span<const WeightSlice> bias, LinearLayout layout,
                                          LinearTools& tools, OpStream& stream);

  std::size_t bytes() const override { return tiles_.bytes() + bias_.bytes(); }

 private:
  Int4Linear(const ExpandedWeight& expanded, Int4Tiling tiling, Buffer tiles, Buffer bias,
             LinearTools& tools);

  void Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const override;

  const ExpandedWeight expanded_;
  const Int4Tiling tiling_;
  const Buffer tiles_;
  const Buffer bias_;  // bf16 [out] or none
  LinearTools& tools_;
};

}  // namespace thinkwire::worker::kernels
