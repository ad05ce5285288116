#pragma once

#include <cstdint>
#include <variant>

#include "worker/kernels/kv.h"
#include "worker/kernels/tensor.h"
#include "worker/kernels/weights.h"

// What becomes of the sums of x W^T, said by the op to the weight; rows are W's, T tokens x's.
// linear_outputs.cuh has the same four as kernels write them.
//
// Each says which layout of W it takes (kLayout), whether models ask for it right after a norm, so
// that products are compiled that do the norm of one token on the way (kFollowsNorm), and what it
// writes (target).
namespace thinkwire::worker::kernels {

struct F32Output {
  static constexpr LinearLayout kLayout = LinearLayout::kPlain;
  static constexpr bool kFollowsNorm = true;
  Tensor out;  // f32 [T, rows]

  const Tensor& target() const { return out; }
  bool Fits(std::int64_t tokens, std::int64_t rows) const {
    return out.dtype == DType::kF32 && out.size() == tokens * rows;
  }
};

// Rounded once.
struct Bf16Output {
  static constexpr LinearLayout kLayout = LinearLayout::kPlain;
  static constexpr bool kFollowsNorm = false;
  Tensor out;  // bf16 [T, rows]

  const Tensor& target() const { return out; }
  bool Fits(std::int64_t tokens, std::int64_t rows) const {
    return out.dtype == DType::kBf16 && out.size() == tokens * rows;
  }
};

// Gates and ups are rounded to bf16 before silu(gate) * up.
struct SwiGluOutput {
  static constexpr LinearLayout kLayout = LinearLayout::kGateUp;
  static constexpr bool kFollowsNorm = true;
  Tensor out;  // bf16 [T, rows / 2]

  const Tensor& target() const { return out; }
  bool Fits(std::int64_t tokens, std::int64_t rows) const {
    return out.dtype == DType::kBf16 && out.size() * 2 == tokens * rows;
  }
};

// QkvRopeWriteKv's arguments, which stay while the product is launched. rope.cuh checks the shapes.
struct QkvOutput {
  static constexpr LinearLayout kLayout = LinearLayout::kQkv;
  static constexpr bool kFollowsNorm = true;
  const Tensor& rope;
  const BatchView& batch;
  const KvLayer& kv;
  const Tensor& q;

  const Tensor& target() const { return q; }
  bool Fits(std::int64_t tokens, std::int64_t /*rows*/) const { return tokens == batch.num_tokens; }
};

using LinearOutput = std::variant<F32Output, Bf16Output, SwiGluOutput, QkvOutput>;

}  // namespace thinkwire::worker::kernels
