#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace thinkwire::worker::kernels {

// How experts are chosen, DeepSeek-V3's way (its inference/model.py, Gate). REQUIRES: num_groups
// divides num_experts into groups of at least 2, or is 1; 1 <= kept_groups <= num_groups;
// 1 <= per_token <= what kept_groups groups hold.
struct RoutingRule {
  std::int32_t num_experts = 0;
  std::int32_t num_groups = 1;
  std::int32_t kept_groups = 1;
  std::int32_t per_token = 0;
  bool normalise = true;  // the weights of a token's experts add up to `factor`
  float factor = 1.0F;
};

struct ChosenExpert {
  std::int32_t id;
  float weight;
};

// Chooses the experts of a token, in f32:
//   s = sigmoid(logits); b = s + correction bias
//   a group's score is the sum of its two greatest b; the kept groups with the best scores stay
//   the per_token greatest b among these are chosen, ties to the lowest id, of groups as of experts
//   weight = s of the chosen, divided by (their sum + 1e-20) if normalise, times factor
// A b that is not a number is -infinity; its weight, and those that it is summed with, are not
// numbers.
// Owns: scratch memory. Threads: one at a time.
class ExpertRouter {
 public:
  // `correction_bias` is f32 [num_experts].
  ExpertRouter(const RoutingRule& rule, std::vector<float> correction_bias);

  const RoutingRule& rule() const { return rule_; }

  // logits f32 [num_experts]; chosen [per_token], filled by ascending id.
  void Choose(const float* logits, std::span<ChosenExpert> chosen);

 private:
  void Score(const float* logits);
  // Marks the experts of dropped groups as taken.
  void DropGroups();
  void SetWeights(std::span<ChosenExpert> chosen) const;

  const RoutingRule rule_;
  const std::vector<float> correction_bias_;
  std::vector<float> scores_;        // [num_experts] s
  std::vector<float> biased_;        // [num_experts] b
  std::vector<float> group_scores_;  // [num_groups]
  std::vector<char> is_taken_;       // [num_experts] chosen already, or of a dropped group
  std::vector<char> is_kept_;        // [num_groups]
};

// sum[i] += weight * x[i], the product rounded before it is added.
void AddScaled(float weight, const float* x, float* sum, std::int64_t n);

}  // namespace thinkwire::worker::kernels
