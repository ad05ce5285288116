#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/layer_part.h"
#include "worker/model/layers/partial_sum.h"
#include "worker/model/layers/scratch.h"
#include "worker/model/layers/swiglu_weights.h"

namespace thinkwire::worker::model {

struct MoeWeights {
  std::unique_ptr<kernels::LinearWeight> gate;  // [X, E]: the router's logits
  kernels::Buffer correction_bias;              // f32 [X]
  // The rank's, a summand's together, by ascending id; all of one shape.
  std::vector<std::unique_ptr<kernels::ExpertWeights>> experts;
  std::vector<SwiGluWeights> shared;  // F of its own; none, or one a summand
};

// DeepSeek-V3's mixture of experts:
//   partial = sum over a token's chosen experts of weight * expert(x), plus shared(x)
// The router says which (kernels::ExpertRouter). A summand (SummedShapes) starts at 0 and is added
// up in f32, its experts by ascending id, then its columns of the shared one; the summands are
// added in turn. So a token's bits are the same in every batch, and on the CPU on one rank and on
// two. Each rank routes all tokens, and adds up those of its experts that were chosen, and its
// columns of the shared one. It keeps nothing in the KV cache.
class MoeFfn final : public LayerPart {
 public:
  // REQUIRES: the backend outlives the part, as the scratch does; the shapes above.
  MoeFfn(const kernels::RoutingRule& rule, MoeWeights weights, Scratch& scratch,
         kernels::Backend& backend);

  void Run(const kernels::Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
           const kernels::Tensor& partial) override;
  std::int64_t bytes() const override;
  std::int64_t total_bytes() const override;

 private:
  kernels::ExpertChoice Route(const kernels::Tensor& x, const kernels::BatchView& batch);
  // The summand's share of the shared expert, f32 [T, E]; without data if there is none.
  kernels::Tensor Shared(std::size_t summand, const kernels::Tensor& x);
  std::int64_t num_experts() const;  // the rank's
  // Of the weights, with so many of the experts.
  std::int64_t BytesWith(std::int64_t experts) const;

  kernels::Backend& backend_;
  const kernels::RoutingRule rule_;
  const MoeWeights weights_;
  const PartialSum sum_;
  const Activation& logits_;          // f32 [T, X]
  const Activation& ids_;             // i32 [T, experts a token]
  const Activation& choice_weights_;  // f32, likewise
  const Activation* shared_gated_;    // [T, a shared one's F], or null
  const Activation* shared_;          // f32 [T, E], or null
};

}  // namespace thinkwire::worker::model
