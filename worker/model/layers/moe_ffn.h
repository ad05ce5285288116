#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/kernels/expert_router.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/layer_part.h"
#include "worker/model/layers/partial_sum.h"
#include "worker/model/layers/scratch.h"
#include "worker/model/layers/swiglu_weights.h"

namespace thinkwire::worker::model {

struct MoeWeights {
  std::unique_ptr<kernels::LinearWeight> gate;  // [X, E]: the router's logits
  std::vector<float> correction_bias;           // [X]
  std::int64_t first_expert = 0;                // id of the first of `experts`
  std::vector<SwiGluWeights> experts;           // the rank's, by ascending id, all of one shape
  std::vector<SwiGluWeights> shared;            // F of its own; none, or one a summand
  std::size_t num_summands = 1;                 // of which each has as many experts
};

// DeepSeek-V3's mixture of experts:
//   partial = sum over a token's chosen experts of weight * expert(x), plus shared(x)
// The router says which (kernels::ExpertRouter). A summand (SummedShapes) starts at 0 and is added
// up in f32, its experts by ascending id, then its columns of the shared one; the summands are
// added in turn. So a token's bits are the same in every batch, on one rank and on two. An expert
// multiplies the rows of the tokens that chose it, and one that nobody chose is not read.
// Each rank routes all tokens, and adds up those of its experts that were chosen, and its columns
// of the shared one. It keeps nothing in the KV cache. It runs on the CPU.
class MoeFfn final : public LayerPart {
 public:
  // REQUIRES: a CPU's backend, which outlives the part, as the scratch does; the shapes above.
  MoeFfn(const kernels::RoutingRule& rule, MoeWeights weights, Scratch& scratch,
         kernels::Backend& backend);

  void Run(const kernels::Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
           const kernels::Tensor& partial) override;
  std::int64_t bytes() const override;
  std::int64_t total_bytes() const override;

 private:
  // The tokens that chose an expert, ascending, and its weight for each.
  struct Chosen {
    std::vector<std::int32_t> tokens;
    std::vector<float> weights;
  };

  // Fills chosen_.
  void Route(const kernels::Tensor& x);
  // outputs_'s first rows = expert(x).
  kernels::Tensor Apply(const SwiGluWeights& expert, const kernels::Tensor& x,
                        const Activation& gated);
  void AddChosen(std::size_t expert, const kernels::Tensor& x, const kernels::Tensor& sum);
  void AddShared(std::size_t summand, const kernels::Tensor& x, const kernels::Tensor& sum);
  // Of the weights, with so many of the experts.
  std::int64_t BytesWith(std::int64_t experts) const;

  kernels::Backend& backend_;
  const MoeWeights weights_;
  const PartialSum sum_;
  kernels::ExpertRouter router_;
  std::vector<Chosen> chosen_;                       // of each of the rank's experts
  std::vector<kernels::ChosenExpert> of_one_token_;  // [per_token]
  const Activation& logits_;                         // [T, X]
  const Activation& inputs_;                         // [T, E], of an expert's tokens
  const Activation& outputs_;                        // [T, E]
  const Activation& gated_;                          // [T, F]
  const Activation* shared_gated_;                   // [T, a shared one's F], or null
};

}  // namespace thinkwire::worker::model
