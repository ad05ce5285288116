#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/linear/cuda_linear.h"
#include "worker/kernels/cuda/linear/linear_tools.h"

namespace thinkwire::worker::kernels {

// Row-major bf16 [out, in], rows of a kQkv and a kGateUp weight in the order that row_order.h
// gives. It multiplies in three ways, which give a token the same bits where Bf16WaysAgree: up to
// 32 tokens by our own stream over the weights (small_linear.h), up to 256 by our own tiles
// (tile_linear.h) where those are faster, more by cuBLASLt without split-K (large_linear.h), which
// leaves what becomes of the sums to a second kernel.
// Owns: the matrix and the bias.
class Bf16Linear final : public CudaLinear {
 public:
  // From any encoding, rounded to bf16. Done on return.
  // REQUIRES: what MakeLinear does; cols in eights, and a gate's rows too; tools outlive the
  // weight's use in ops.
  static std::unique_ptr<Bf16Linear> Make(std::span<const WeightSlice> parts,
                                          std::span<const WeightSlice> bias, LinearLayout layout,
                                          LinearTools& tools);

  // A weight whose matrix and bias (or null) lie elsewhere, in this one's order of rows, for as
  // long as it lives.
  static Bf16Linear Over(LinearLayout layout, const LinearShape& shape, void* matrix, void* bias,
                         LinearTools& tools);

  std::size_t bytes() const override { return matrix_.bytes() + bias_.bytes(); }

 private:
  Bf16Linear(LinearLayout layout, const LinearShape& shape, Buffer matrix, Buffer bias,
             LinearTools& tools);

  void Multiply(const Tensor& x, const LinearOutput& output, OpStream& stream) const override;

  void RunSmall(const Tensor& x, const LinearOutput& output, OpStream& stream) const;
  void RunTiles(const Tensor& x, const LinearOutput& output, OpStream& stream) const;
  void RunLarge(const Tensor& x, const F32Output& output, OpStream& stream) const;
  void RunLarge(const Tensor& x, const Bf16Output& output, OpStream& stream) const;
  void RunLarge(const Tensor& x, const SwiGluOutput& output, OpStream& stream) const;
  void RunLarge(const Tensor& x, const QkvOutput& output, OpStream& stream) const;
  // RunLarge where that gives other bits than the small way: that one, 16 tokens at a time.
  template <class Output>
  void RunInPieces(const Tensor& x, const Output& output, OpStream& stream) const;
  bool GoesInPieces() const;
  // out [T, rows] in f32 or bf16, by cuBLASLt.
  void Product(const Tensor& x, const Tensor& out, OpStream& stream) const;
  // Scratch memory for [T, rows] sums.
  Tensor Sums(const Tensor& x, DType dtype, OpStream& stream) const;

  const Buffer matrix_;
  const Buffer bias_;  // bf16 [out] or none
  LinearTools& tools_;
};

// Whether the ways give equal bits on this GPU: one product by all, of a token among many and
// among few. False where there is only one.
bool Bf16WaysAgree(LinearTools& tools, OpStream& stream);

}  // namespace thinkwire::worker::kernels
