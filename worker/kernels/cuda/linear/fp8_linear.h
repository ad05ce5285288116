#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/cuda_linear.h"
#include "worker/kernels/cuda/linear/linear_tools.h"

namespace thinkwire::worker::kernels {

// Weights of FP8 in blocks of 128 columns, in tiles (tile_layout.h). Up to 64 tokens are multiplied
// with as they lie; for more the weight is made bf16 in memory that all weights share, and
// multiplied as one (bf16_linear.h). Both give a token the bits that a bf16 weight of the same
// numbers gives it.
// Owns: the tiles.
class Fp8Linear final : public CudaLinear {
 public:
  // Whether all parts are of FP8, stack to whole tiles, and have their columns in their own order;
  // not of kQkv, whose products rotate.
  static bool Takes(std::span<const WeightSlice> parts, LinearLayout layout);

  // Takes the shared memory too. Done on return.
  // REQUIRES: Takes, and what MakeLinear does; tools outlive the weight's use in ops.
  static std::unique_ptr<Fp8Linear> Make(std::span<const WeightSlice> parts, LinearLayout layout,
                                         LinearTools& tools, OpStream& stream);

  std::size_t bytes() const override { return tiles_.bytes(); }

 private:
  Fp8Linear(LinearLayout layout, const LinearShape& shape, Buffer tiles, LinearTools& tools);

  void Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const override;

  const LinearLayout layout_;
  const Buffer tiles_;
  LinearTools& tools_;
};

}  // namespace thinkwire::worker::kernels
