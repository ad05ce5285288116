#include "worker/model/layers/moe_ffn.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

using kernels::DType;
using kernels::ExpertShape;
using kernels::Tensor;

void CheckShapes(const kernels::RoutingRule& rule, const MoeWeights& weights) {
  CHECK(!weights.experts.empty(), "a rank has some of the experts");
  CHECK(weights.shared.empty() || weights.shared.size() == weights.experts.size(),
        "a part of the shared expert a summand");
  CHECK(weights.gate->out_features() == rule.num_experts, "the router has a row an expert");
  const ExpertShape& one = weights.experts[0]->shape();
  for (const auto& experts : weights.experts) {
    const ExpertShape& shape = experts->shape();
    CHECK(shape.count == one.count && shape.ffn == one.ffn &&
              shape.hidden == weights.gate->in_features(),
          "experts of one shape, as many a summand");
    CHECK(shape.first >= 0 && shape.first + shape.count <= rule.num_experts,
          "experts that the router knows");
  }
}

}  // namespace

MoeFfn::MoeFfn(const kernels::RoutingRule& rule, MoeWeights weights, Scratch& scratch,
               kernels::Backend& backend)
    : backend_(backend),
      rule_(rule),
      weights_(std::move(weights)),
      sum_(weights_.experts.size(), weights_.gate->in_features(), scratch),
      logits_(scratch.Get("router_logits", rule.num_experts, DType::kF32)),
      ids_(scratch.Get("expert_ids", rule.per_token, DType::kI32)),
      choice_weights_(scratch.Get("expert_weights", rule.per_token, DType::kF32)),
      shared_gated_(weights_.shared.empty()
                        ? nullptr
                        : &scratch.Get("gated", weights_.shared[0].down->in_features())),
      shared_(weights_.shared.empty()
                  ? nullptr
                  : &scratch.Get("shared_expert", weights_.gate->in_features(), DType::kF32)) {
  CheckShapes(rule, weights_);
}

void MoeFfn::Run(const Tensor& x, const kernels::BatchView& batch, const kernels::KvLayer& /*kv*/,
                 const Tensor& partial) {
  const kernels::ExpertChoice choice = Route(x, batch);
  sum_.Write(partial, [&](std::size_t summand, const Tensor& to) {
    const Tensor shared = Shared(summand, x);
    backend_.MixExperts(
        x, {.choice = choice, .experts = *weights_.experts[summand], .shared = shared}, to);
  });
}

kernels::ExpertChoice MoeFfn::Route(const Tensor& x, const kernels::BatchView& batch) {
  const kernels::ExpertChoice choice = {.ids = ids_.Rows(x.dim(0)),
                                        .weights = choice_weights_.Rows(x.dim(0))};
  backend_.RouteExperts(
      x, *weights_.gate,
      {.rule = rule_,
       .bias = kernels::MakeTensor(weights_.correction_bias.data(), DType::kF32, rule_.num_experts),
       .logits = logits_.Rows(x.dim(0))},
      batch.token_seq, choice);
  return choice;
}

Tensor MoeFfn::Shared(std::size_t summand, const Tensor& x) {
  if (shared_ == nullptr) return {};
  const SwiGluWeights& expert = weights_.shared[summand];
  const Tensor gated = shared_gated_->Rows(x.dim(0));
  const Tensor outputs = shared_->Rows(x.dim(0));
  backend_.GateUpSwiGlu(x, *expert.gate_up, gated);
  backend_.LmHead(gated, *expert.down, outputs);
  return outputs;
}

std::int64_t MoeFfn::num_experts() const {
  return std::ssize(weights_.experts) * weights_.experts[0]->shape().count;
}

std::int64_t MoeFfn::BytesWith(std::int64_t experts) const {
  std::int64_t bytes = static_cast<std::int64_t>(weights_.gate->bytes());
  for (const SwiGluWeights& shared : weights_.shared) bytes += shared.bytes();
  std::int64_t all = 0;
  for (const auto& of : weights_.experts) all += static_cast<std::int64_t>(of->bytes());
  return bytes + all / num_experts() * experts;
}

std::int64_t MoeFfn::bytes() const {
  return BytesWith(std::min<std::int64_t>(rule_.per_token, num_experts()));
}

std::int64_t MoeFfn::total_bytes() const { return BytesWith(num_experts()); }

}  // namespace thinkwire::worker::model
