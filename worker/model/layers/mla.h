#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/mla_config.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/layers/activation.h"
#include "worker/model/layers/layer_part.h"
#include "worker/model/layers/partial_sum.h"

namespace thinkwire::worker::model {

// Latent attention, DeepSeek-V2's (arXiv:2405.04434, section 2.1), in its absorbed form alone:
//   c = norm(x Wc), k = rotated(x Wk): a token's key, shared by all heads and kept
//   q_h = [n_h | r_h] of norm(x Wqa) Wqb (or x Wq); r_h is rotated
//   score of key j = (n_h Wuk_h . c_j + r_h . k_j) * score_scale
//   result of h = (sum of weights * c_j) Wuv_h; then all heads' results times Wo
// Wuk_h and Wuv_h are the rows of head h in kv_b_proj. Prompts and drawn tokens go one way, so that
// a token has the same bits in both. Norms within the part have an epsilon of 1e-6, whatever
// rms_norm_eps is, as in transformers and in DeepSeek's own code.
// Its one KV plane is latents.h's. Ranks divide the heads, and so do the summands of one
// (SummedShapes).
class Mla final : public LayerPart {
 public:
  // The plan's weights and tables are MlaPart's. The backend and the scratch must outlive the part;
  // the rest of `place` is read here alone.
  Mla(const MlaConfig& config, const PartPlan& part, const PartPlace& place);

  void Run(const kernels::Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& kv,
           const kernels::Tensor& partial) override;
  std::int64_t bytes() const override;

 private:
  // [T, H (P + R)]
  kernels::Tensor Queries(const kernels::Tensor& x);
  void WriteKeys(const kernels::Tensor& x, const kernels::BatchView& batch,
                 const kernels::KvLayer& kv);
  // What all heads have of the latents, [T, H, C].
  kernels::Tensor Attend(const kernels::Tensor& q, const kernels::BatchView& batch,
                         const kernels::KvLayer& kv);

  kernels::Backend& backend_;
  const MlaConfig config_;
  const kernels::PairRotation rotation_;
  const std::unique_ptr<kernels::LinearWeight> q_a_;  // null: no latents of queries
  const kernels::Buffer q_a_norm_;                    // likewise
  const std::unique_ptr<kernels::LinearWeight> q_;
  const std::unique_ptr<kernels::LinearWeight> kv_a_;
  const kernels::Buffer kv_a_norm_;
  const std::unique_ptr<kernels::LatentHeads> heads_;
  const std::vector<std::unique_ptr<kernels::LinearWeight>> out_;  // of the SummedShapes
  const PartialSum sum_;

  const Activation& queries_;
  const Activation& keys_;
  const Activation& absorbed_;
  const Activation& attended_;
  const Activation& results_;
  const Activation* q_latents_;         // null: no latents of queries
  const Activation* normed_q_latents_;  // likewise
};

}  // namespace thinkwire::worker::model
