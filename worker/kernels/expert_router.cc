#include "worker/kernels/expert_router.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "worker/kernels/check.h"
#include "worker/kernels/exp.h"
#include "worker/kernels/scalar_lane.h"

namespace thinkwire::worker::kernels {
namespace {

float Sigmoid(float x) { return 1.0F / (1.0F + Exp(ScalarLane::Set(-x)).x); }

// Takes the greatest of `values` that is not taken, the first among equals. REQUIRES: one is left.
std::size_t TakeBest(std::span<const float> values, std::vector<char>& is_taken) {
  std::size_t best = values.size();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (is_taken[i] == 0 && (best == values.size() || values[i] > values[best])) best = i;
  }
  Check(best < values.size(), "as many are taken as there are");
  is_taken[best] = 1;
  return best;
}

float SumOfTwoBest(std::span<const float> values) {
  float best = std::max(values[0], values[1]);
  float second = std::min(values[0], values[1]);
  for (const float value : values.subspan(2)) {
    second = std::max(second, std::min(best, value));
    best = std::max(best, value);
  }
  return best + second;
}

}  // namespace

ExpertRouter::ExpertRouter(const RoutingRule& rule, std::vector<float> correction_bias)
    : rule_(rule), correction_bias_(std::move(correction_bias)) {
  Check(rule.num_groups >= 1 && rule.num_experts % rule.num_groups == 0, "groups of one size");
  const std::int32_t group = rule.num_experts / rule.num_groups;
  Check(rule.num_groups == 1 || group >= 2, "groups of at least two experts");
  Check(rule.kept_groups >= 1 && rule.kept_groups <= rule.num_groups, "so many groups are kept");
  Check(rule.per_token >= 1 && rule.per_token <= rule.kept_groups * group,
        "so many experts are in the kept groups");
  Check(correction_bias_.size() == static_cast<std::size_t>(rule.num_experts), "a bias an expert");
  scores_.resize(correction_bias_.size());
  biased_.resize(correction_bias_.size());
  is_taken_.resize(correction_bias_.size());
  group_scores_.resize(static_cast<std::size_t>(rule.num_groups));
  is_kept_.resize(static_cast<std::size_t>(rule.num_groups));
}

void ExpertRouter::Score(const float* logits) {
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    scores_[i] = Sigmoid(logits[i]);
    const float biased = scores_[i] + correction_bias_[i];
    biased_[i] = std::isnan(biased) ? -std::numeric_limits<float>::infinity() : biased;
  }
}

void ExpertRouter::DropGroups() {
  std::ranges::fill(is_taken_, 0);
  if (rule_.kept_groups == rule_.num_groups) return;
  const std::size_t group = biased_.size() / group_scores_.size();
  for (std::size_t g = 0; g < group_scores_.size(); ++g) {
    group_scores_[g] = SumOfTwoBest(std::span<const float>(biased_).subspan(g * group, group));
  }
  std::ranges::fill(is_kept_, 0);
  for (std::int32_t i = 0; i < rule_.kept_groups; ++i) TakeBest(group_scores_, is_kept_);
  for (std::size_t i = 0; i < is_taken_.size(); ++i) is_taken_[i] = is_kept_[i / group] == 0;
}

void ExpertRouter::SetWeights(std::span<ChosenExpert> chosen) const {
  float sum = 0.0F;
  for (ChosenExpert& expert : chosen) {
    expert.weight = scores_[static_cast<std::size_t>(expert.id)];
    sum += expert.weight;
  }
  for (ChosenExpert& expert : chosen) {
    if (rule_.normalise) expert.weight /= sum + 1e-20F;
    expert.weight *= rule_.factor;
  }
}

void ExpertRouter::Choose(const float* logits, std::span<ChosenExpert> chosen) {
  Check(chosen.size() == static_cast<std::size_t>(rule_.per_token), "room for per_token experts");
  Score(logits);
  DropGroups();
  for (ChosenExpert& expert : chosen) {
    expert.id = static_cast<std::int32_t>(TakeBest(biased_, is_taken_));
  }
  std::ranges::sort(chosen, {}, &ChosenExpert::id);
  SetWeights(chosen);
}

void AddScaled(float weight, const float* x, float* sum, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) sum[i] += weight * x[i];
}

}  // namespace thinkwire::worker::kernels
