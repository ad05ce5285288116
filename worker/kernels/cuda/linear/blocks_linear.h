#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/cuda_linear.h"
#include "worker/kernels/cuda/linear/expanded_product.h"
#include "worker/kernels/cuda/linear/linear_tools.h"

namespace thinkwire::worker::kernels {

// Weights of any packed encodings, a part its own, as the checkpoint has them. Each product makes
// the whole weight bf16 first, in memory that all weights share, and multiplies as with one
// (bf16_linear.h): the bits of the same numbers in bf16, at the cost of both. For what no faster
// kind takes.
// Owns: the packed rows, grouped by encoding, and the bias.
class BlocksLinear final : public CudaLinear {
 public:
  // Whether a part is packed, and all are in their own order of columns.
  static bool Takes(std::span<const WeightSlice> parts);

  // Takes the shared memory too. Done on return.
  // REQUIRES: Takes, and what MakeLinear does; tools outlive the weight's use in ops.
  static std::unique_ptr<BlocksLinear> Make(std::span<const WeightSlice> parts,
                                            std::span<const WeightSlice> bias, LinearLayout layout,
                                            LinearTools& tools, OpStream& stream);

  std::size_t bytes() const override;

 private:
  // Rows of one encoding in the order in which the product has them.
  struct Group {
    Encoding encoding;
    std::int64_t row_bytes;
    std::int64_t count;
    Buffer rows;
    Buffer targets;  // i32 [count]: their rows in the product
  };

  static Group MakeGroup(std::span<const WeightSlice> parts, Encoding encoding, LinearLayout layout,
                         const LinearShape& shape, LinearTools& tools);
  BlocksLinear(const ExpandedWeight& expanded, std::vector<Group> groups, Buffer bias,
               LinearTools& tools);

  void Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const override;

  const ExpandedWeight expanded_;
  const std::vector<Group> groups_;
  const Buffer bias_;  // bf16 [out] or none
  LinearTools& tools_;
};

}  // namespace thinkwire::worker::kernels
