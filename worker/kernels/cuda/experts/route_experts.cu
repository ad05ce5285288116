#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/experts/expert_ops.h"
#include "worker/kernels/exp.h"
#include "worker/kernels/scalar_lane.h"

// Each token's experts by ExpertRouter's rule (expert_router.h) and in its arithmetic, so that
// equal logits give equal choices and weights, bit for bit.
//
// Mapping: one warp a token. Scores are a lane's each 32nd; a group's score and which groups stay
// are decided by one lane in order; then P times the greatest of what is left, ties to the lowest
// id. Shared memory: 9 bytes an expert, 4 a group, 8 a chosen one. Latency alone: some 10 us for P
// of 8.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kMostGroups = 64;
constexpr int kMostPerToken = 64;

__device__ __forceinline__ float MinusInfinity() { return __int_as_float(0xFF800000); }

__device__ __forceinline__ float Sigmoid(float x) {
  return __fdiv_rn(1.0F, __fadd_rn(1.0F, Exp(ScalarLane::Set(-x)).x));
}

// A token's scores in shared memory, and which of its experts may be chosen no more.
struct Scores {
  float* plain;   // [X] s
  float* biased;  // [X] b
  unsigned char* is_taken;
};

__device__ __forceinline__ float SumOfTwoBest(const float* values, int n) {
  float best = fmaxf(values[0], values[1]);
  float second = fminf(values[0], values[1]);
  for (int i = 2; i < n; ++i) {
    second = fmaxf(second, fminf(best, values[i]));
    best = fmaxf(best, values[i]);
  }
  return __fadd_rn(best, second);
}

// One lane's: marks the experts of dropped groups through `is_kept`.
__device__ __forceinline__ void KeepGroups(const RoutingRule& rule, const float* group_scores,
                                           unsigned char* is_kept) {
  for (int g = 0; g < rule.num_groups; ++g) is_kept[g] = 0;
  for (int i = 0; i < rule.kept_groups; ++i) {
    int best = -1;
    for (int g = 0; g < rule.num_groups; ++g) {
      if (is_kept[g] == 0 && (best < 0 || group_scores[g] > group_scores[best])) best = g;
    }
    is_kept[best] = 1;
  }
}

// The greatest b of what is left, the first among equals.
__device__ __forceinline__ int TakeBest(const Scores& scores, int experts) {
  int best = -1;
  float value = 0.0F;
  for (int i = static_cast<int>(threadIdx.x); i < experts; i += 32) {
    if (scores.is_taken[i] == 0 && (best < 0 || scores.biased[i] > value)) {
      best = i;
      value = scores.biased[i];
    }
  }
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    const int other = __shfl_xor_sync(0xFFFFFFFFU, best, distance);
    const float of_other = __shfl_xor_sync(0xFFFFFFFFU, value, distance);
    const bool is_better =
        other >= 0 && (best < 0 || of_other > value || (of_other == value && other < best));
    if (is_better) {
      best = other;
      value = of_other;
    }
  }
  if (threadIdx.x == 0) scores.is_taken[best] = 1;
  __syncwarp();
  return best;
}

__device__ __forceinline__ void Score(const RoutingRule& rule, const float* logits,
                                      const float* bias, const Scores& scores) {
  for (int i = static_cast<int>(threadIdx.x); i < rule.num_experts; i += 32) {
    const float plain = Sigmoid(logits[i]);
    const float biased = __fadd_rn(plain, bias[i]);
    scores.plain[i] = plain;
    scores.biased[i] = biased == biased ? biased : MinusInfinity();
    scores.is_taken[i] = 0;
  }
  __syncwarp();
}

__device__ __forceinline__ void DropGroups(const RoutingRule& rule, const Scores& scores) {
  __shared__ float group_scores[kMostGroups];
  __shared__ unsigned char is_kept[kMostGroups];
  if (rule.kept_groups == rule.num_groups) return;
  const int group = rule.num_experts / rule.num_groups;
  for (int g = static_cast<int>(threadIdx.x); g < rule.num_groups; g += 32) {
    group_scores[g] = SumOfTwoBest(scores.biased + g * group, group);
  }
  __syncwarp();
  if (threadIdx.x == 0) KeepGroups(rule, group_scores, is_kept);
  __syncwarp();
  for (int i = static_cast<int>(threadIdx.x); i < rule.num_experts; i += 32) {
    scores.is_taken[i] = is_kept[i / group] == 0 ? 1 : 0;
  }
  __syncwarp();
}

// `chosen` in any order; weights add up in that of the ids.
__device__ __forceinline__ void StoreChosen(const RoutingRule& rule, const Scores& scores,
                                            const int* chosen, bool is_padding, std::int32_t* ids,
                                            float* weights) {
  __shared__ int sorted[kMostPerToken];
  for (int i = static_cast<int>(threadIdx.x); i < rule.per_token; i += 32) {
    int rank = 0;
    for (int j = 0; j < rule.per_token; ++j) rank += chosen[j] < chosen[i] ? 1 : 0;
    sorted[rank] = chosen[i];
  }
  __syncwarp();
  float sum = 0.0F;
  for (int i = 0; i < rule.per_token; ++i) sum = __fadd_rn(sum, scores.plain[sorted[i]]);
  for (int i = static_cast<int>(threadIdx.x); i < rule.per_token; i += 32) {
    float weight = scores.plain[sorted[i]];
    if (rule.normalise) weight = __fdiv_rn(weight, __fadd_rn(sum, 1e-20F));
    ids[i] = is_padding ? -1 : sorted[i];
    weights[i] = __fmul_rn(weight, rule.factor);
  }
}

__global__ __launch_bounds__(32) void RouteExpertsKernel(RoutingRule rule, const float* logits,
                                                         const float* bias,
                                                         const std::int32_t* token_seq,
                                                         std::int32_t* ids, float* weights) {
  extern __shared__ float shared[];
  __shared__ int chosen[kMostPerToken];
  WaitForPrevious();
  AllowNext();
  const auto token = static_cast<std::int64_t>(blockIdx.x);
  const Scores scores = {shared, shared + rule.num_experts,
                         reinterpret_cast<unsigned char*>(shared + 2 * rule.num_experts)};
  Score(rule, logits + token * rule.num_experts, bias, scores);
  DropGroups(rule, scores);
  for (int i = 0; i < rule.per_token; ++i) {
    const int best = TakeBest(scores, rule.num_experts);
    if (threadIdx.x == 0) chosen[i] = best;
  }
  __syncwarp();
  StoreChosen(rule, scores, chosen, token_seq != nullptr && token_seq[token] < 0,
              ids + token * rule.per_token, weights + token * rule.per_token);
}

}  // namespace

void LaunchRouteExperts(const Routing& routing, const std::int32_t* token_seq,
                        const ExpertChoice& choice, cudaStream_t stream) {
  const RoutingRule& rule = routing.rule;
  const std::int64_t tokens = choice.ids.dim(0);
  if (tokens == 0) return;
  Check(
      rule.num_experts <= 4096 && rule.num_groups <= kMostGroups && rule.per_token <= kMostPerToken,
      "at most 4,096 experts in 64 groups, 64 a token");
  Check(routing.logits.size() == tokens * rule.num_experts &&
            routing.bias.size() == rule.num_experts &&
            choice.ids.size() == tokens * rule.per_token &&
            choice.weights.size() == choice.ids.size(),
        "logits are f32 [T, X], the bias f32 [X], ids and weights [T, P]");
  Launch(&RouteExpertsKernel,
         {.grid = dim3(static_cast<unsigned>(tokens)),
          .block = dim3(32),
          .shared_bytes = static_cast<std::size_t>(rule.num_experts) * 9},
         stream, rule, routing.logits.as<float>(), routing.bias.as<float>(), token_seq,
         choice.ids.as<std::int32_t>(), choice.weights.as<float>());
}

}  // namespace thinkwire::worker::kernels
