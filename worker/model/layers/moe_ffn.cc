#include "worker/model/layers/moe_ffn.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::model {
namespace {

using kernels::Tensor;

void CheckShapes(const kernels::RoutingRule& rule, const MoeWeights& weights) {
  CHECK(!weights.experts.empty() && weights.first_expert >= 0 &&
            weights.first_expert + std::ssize(weights.experts) <= rule.num_experts,
        "a rank has some of the experts");
  CHECK(weights.experts.size() % weights.num_summands == 0, "as many experts a summand");
  CHECK(weights.shared.empty() || weights.shared.size() == weights.num_summands,
        "a part of the shared expert a summand");
  CHECK(weights.gate->out_features() == rule.num_experts, "the router has a row an expert");
  const std::int64_t ffn = weights.experts[0].down->in_features();
  for (const SwiGluWeights& expert : weights.experts) {
    CHECK(expert.down->in_features() == ffn && expert.gate_up->out_features() == 2 * ffn &&
              expert.down->out_features() == weights.gate->in_features(),
          "experts of one shape");
  }
}

}  // namespace

MoeFfn::MoeFfn(const kernels::RoutingRule& rule, MoeWeights weights, Scratch& scratch,
               kernels::Backend& backend)
    : backend_(backend),
      weights_(std::move(weights)),
      sum_(weights_.num_summands, weights_.gate->in_features(), scratch),
      router_(rule, weights_.correction_bias),
      chosen_(weights_.experts.size()),
      of_one_token_(static_cast<std::size_t>(rule.per_token)),
      logits_(scratch.Get("router_logits", weights_.gate->out_features())),
      inputs_(scratch.Get("expert_inputs", weights_.gate->in_features())),
      outputs_(scratch.Get("expert_outputs", weights_.gate->in_features())),
      gated_(scratch.Get("gated", weights_.experts.at(0).down->in_features())),
      shared_gated_(weights_.shared.empty()
                        ? nullptr
                        : &scratch.Get("gated", weights_.shared[0].down->in_features())) {
  CHECK(backend.capabilities().kind == kernels::DeviceKind::kCpu, "experts run on the CPU");
  CheckShapes(rule, weights_);
}

void MoeFfn::Run(const Tensor& x, const kernels::BatchView& /*batch*/,
                 const kernels::KvLayer& /*kv*/, const Tensor& partial) {
  Route(x);
  const std::size_t experts = chosen_.size() / sum_.num_summands();
  sum_.Write(partial, [&](std::size_t summand, const Tensor& to) {
    std::memset(to.data, 0, to.bytes());
    const std::size_t first = summand * experts;
    for (std::size_t expert = first; expert < first + experts; ++expert) AddChosen(expert, x, to);
    AddShared(summand, x, to);
  });
}

void MoeFfn::Route(const Tensor& x) {
  const Tensor logits = logits_.Rows(x.dim(0));
  backend_.Linear(x, *weights_.gate, logits);
  for (Chosen& chosen : chosen_) {
    chosen.tokens.clear();
    chosen.weights.clear();
  }
  for (std::int64_t t = 0; t < x.dim(0); ++t) {
    router_.Choose(logits.as<float>() + t * logits.dim(1), of_one_token_);
    for (const kernels::ChosenExpert& expert : of_one_token_) {
      const std::int64_t own = expert.id - weights_.first_expert;
      if (own < 0 || own >= std::ssize(chosen_)) continue;
      Chosen& chosen = chosen_[static_cast<std::size_t>(own)];
      chosen.tokens.push_back(static_cast<std::int32_t>(t));
      chosen.weights.push_back(expert.weight);
    }
  }
}

Tensor MoeFfn::Apply(const SwiGluWeights& expert, const Tensor& x, const Activation& gated) {
  const Tensor rows = gated.Rows(x.dim(0));
  const Tensor outputs = outputs_.Rows(x.dim(0));
  backend_.GateUpSwiGlu(x, *expert.gate_up, rows);
  backend_.Linear(rows, *expert.down, outputs);
  return outputs;
}

void MoeFfn::AddChosen(std::size_t expert, const Tensor& x, const Tensor& sum) {
  Chosen& chosen = chosen_[expert];
  if (chosen.tokens.empty()) return;
  const auto count = static_cast<std::int64_t>(chosen.tokens.size());
  const Tensor inputs = inputs_.Rows(count);
  backend_.GatherRows(x, kernels::MakeTensor(chosen.tokens.data(), kernels::DType::kI32, count),
                      inputs);
  const Tensor outputs = Apply(weights_.experts[expert], inputs, gated_);
  const std::int64_t width = sum.dim(1);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    kernels::AddScaled(chosen.weights[at], outputs.as<float>() + i * width,
                       sum.as<float>() + chosen.tokens[at] * width, width);
  }
}

void MoeFfn::AddShared(std::size_t summand, const Tensor& x, const Tensor& sum) {
  if (shared_gated_ == nullptr) return;
  const Tensor outputs = Apply(weights_.shared[summand], x, *shared_gated_);
  kernels::AddScaled(1.0F, outputs.as<float>(), sum.as<float>(), sum.size());
}

std::int64_t MoeFfn::BytesWith(std::int64_t experts) const {
  std::int64_t bytes = static_cast<std::int64_t>(weights_.gate->bytes());
  for (const SwiGluWeights& shared : weights_.shared) bytes += shared.bytes();
  return bytes + experts * weights_.experts[0].bytes();
}

std::int64_t MoeFfn::bytes() const {
  return BytesWith(std::min<std::int64_t>(router_.rule().per_token, std::ssize(weights_.experts)));
}

std::int64_t MoeFfn::total_bytes() const { return BytesWith(std::ssize(weights_.experts)); }

}  // namespace thinkwire::worker::model
