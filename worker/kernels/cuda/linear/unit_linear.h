#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/cuda_linear.h"
#include "worker/kernels/cuda/linear/expanded_product.h"
#include "worker/kernels/cuda/linear/linear_tools.h"
#include "worker/kernels/cuda/linear/unit_product.h"

namespace thinkwire::worker::kernels {

// Weights in formats of unit_layout.h, rows in the order that row_order.h gives; parts of a stack
// may differ, as a Q4_K_M file's queries and values do, and each keeps its own. Up to 64 tokens are
// multiplied by our own stream over the packed weights (unit_product.h); for more the weight is
// made bf16 in memory that all weights share, and multiplied as one (bf16_linear.h). Both give a
// token the bits that a bf16 weight of the same numbers gives it.
// Owns: the packed rows, in sections of one format, and the bias.
class UnitLinear final : public CudaLinear {
 public:
  // Whether this GPU multiplies with parts of these formats and shapes: columns in 128s and in
  // their own order, gates and ups alike, and where formats meet rows that end with a tile.
  static bool Takes(std::span<const WeightSlice> parts, LinearLayout layout,
                    const LinearTools& tools);

  // Takes the shared memory too. Done on return.
  // REQUIRES: Takes, and what MakeLinear does; tools outlive the weight's use in ops.
  static std::unique_ptr<UnitLinear> Make(std::span<const WeightSlice> parts,
                                          std::span<const WeightSlice> bias, LinearLayout layout,
                                          LinearTools& tools, OpStream& stream);

  std::size_t bytes() const override;

 private:
  struct Section {
    UnitRows rows;
    Buffer tiles;
  };

  static Section MakeSection(std::span<const WeightSlice> parts, const UnitRows& rows,
                             LinearLayout layout, std::int64_t all_rows, LinearTools& tools);
  UnitLinear(const ExpandedWeight& expanded, std::vector<Section> sections, Buffer bias,
             LinearTools& tools);

  void Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const override;
  // Rows [first, first + count) of the product, bf16, to `to`.
  void Expand(std::int64_t first, std::int64_t count, void* to, OpStream& stream) const;

  const ExpandedWeight expanded_;
  const std::vector<Section> sections_;
  const Buffer bias_;  // bf16 [out] or none
  LinearTools& tools_;
};

}  // namespace thinkwire::worker::kernels
