#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/kernels/expert_router.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/layer_part.h"
#include "worker/model/layers/scratch.h"

namespace thinkwire::worker::model {

// A SwiGLU block: [2 F, E], gate then up, kGateUp; and [E, F].
struct ExpertWeights {
  std::unique_ptr<kernels::LinearWeight> gate_up;
  std::unique_ptr<kernels::LinearWeight> down;
};

struct MoeWeights {
  std::unique_ptr<kernels::LinearWeight> gate;  // [X, E]: the router's logits
  std::vector<float> correction_bias;           // [X]
  std::int64_t first_expert = 0;                // id of the first of `experts`
  std::vector<ExpertWeights> experts;           // the rank's, by ascending id, all of one shape
  ExpertWeights shared;                         // F of its own; nulls: there is none
};

// DeepSeek-V3's mixture of experts:
//   partial = sum over a token's chosen experts of weight * expert(x), plus shared(x)
// The router says which (kernels::ExpertRouter). The sum starts at 0 and is added up in f32 by
// ascending id, the shared expert last; so a token's bits are the same in every batch. An expert
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
  kernels::Tensor Apply(const ExpertWeights& expert, const kernels::Tensor& x,
                        const Activation& gated);
  void AddChosen(std::size_t expert, const kernels::Tensor& x, const kernels::Tensor& sum);
  void AddShared(const kernels::Tensor& x, const kernels::Tensor& sum);
  // Of the weights, with so many of the experts.
  std::int64_t BytesWith(std::int64_t experts) const;

  kernels::Backend& backend_;
  const MoeWeights weights_;
  kernels::ExpertRouter router_;
  std::vector<Chosen> chosen_;                       // of each of the rank's experts
  std::vector<kernels::ChosenExpert> of_one_token_;  // [per_token]
  const Activation& logits_;                         // [T, X]
  const Activation& inputs_;                         // [T, E], of an expert's tokens
  const Activation& outputs_;                        // [T, E]
  const Activation& gated_;                          // [T, F]
  const Activation* shared_gated_;                   // [T, the shared expert's F], or null
};

}  // namespace thinkwire::worker::model
