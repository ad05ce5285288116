#include <cstdint>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/experts/expert_ops.h"
#include "worker/kernels/exp.h"
#include "worker/kernels/scalar_lane.h"

// Each token's experts by ExpertRouter's rule (expert_router.h) and in its arithmetic, so that
// equal logits give equal choices and weights, bit for bit.
//
// Mapping: a block a token. A warp at a time finds what a group has; which groups and which experts
// stay is decided by counting how many come before each, greater or equal and of a lower id: that
// takes no rounds. Shared memory: 8 bytes an expert. Latency alone.
namespace thinkwire::worker::kernels {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kMostGroups = 64;
constexpr int kMostPerToken = 64;

__device__ __forceinline__ float MinusInfinity() { return __int_as_float(0xFF800000); }

__device__ __forceinline__ float Sigmoid(float x) {
  return __fdiv_rn(1.0F, __fadd_rn(1.0F, Exp(ScalarLane::Set(-x)).x));
}

// A token's scores in shared memory.
struct Scores {
  float* plain;   // [X] s
  float* biased;  // [X] b; NaN: of a dropped group
};

// How many of `values` come before `own`, which is the i-th.
__device__ __forceinline__ int Before(const float* values, int n, float own, int i) {
  int before = 0;
#pragma unroll 4
  for (int j = 0; j < n; ++j) {
    before += values[j] > own || (values[j] == own && j < i) ? 1 : 0;
  }
  return before;
}

// A warp's. REQUIRES: n >= 2.
__device__ __forceinline__ float SumOfTwoBest(const float* values, int n) {
  float best = MinusInfinity();
  float second = MinusInfinity();
  for (int i = static_cast<int>(threadIdx.x % 32); i < n; i += 32) {
    second = fmaxf(second, fminf(best, values[i]));
    best = fmaxf(best, values[i]);
  }
#pragma unroll 1
  for (int distance = 16; distance > 0; distance /= 2) {
    const float other = __shfl_xor_sync(0xFFFFFFFFU, best, distance);
    const float second_other = __shfl_xor_sync(0xFFFFFFFFU, second, distance);
    second = fmaxf(fmaxf(second, second_other), fminf(best, other));
    best = fmaxf(best, other);
  }
  return __fadd_rn(best, second);
}

__device__ __forceinline__ void Score(const RoutingRule& rule, const float* logits,
                                      const float* bias, const Scores& scores) {
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < rule.num_experts; i += kThreads) {
    const float plain = Sigmoid(logits[i]);
    const float biased = __fadd_rn(plain, bias[i]);
    scores.plain[i] = plain;
    scores.biased[i] = biased == biased ? biased : MinusInfinity();
  }
  __syncthreads();
}

__device__ __forceinline__ void DropGroups(const RoutingRule& rule, const Scores& scores) {
  __shared__ float group_scores[kMostGroups];
  __shared__ bool is_kept[kMostGroups];
  if (rule.kept_groups == rule.num_groups) return;
  const int group = rule.num_experts / rule.num_groups;
  for (int g = static_cast<int>(threadIdx.x / 32); g < rule.num_groups; g += kWarps) {
    const float sum = SumOfTwoBest(scores.biased + g * group, group);
    if (threadIdx.x % 32 == 0) group_scores[g] = sum;
  }
  __syncthreads();
  const int own = static_cast<int>(threadIdx.x);
  if (own < rule.num_groups) {
    is_kept[own] = Before(group_scores, rule.num_groups, group_scores[own], own) < rule.kept_groups;
  }
  __syncthreads();
  for (int i = own; i < rule.num_experts; i += kThreads) {
    if (!is_kept[i / group]) scores.biased[i] = __int_as_float(0x7FFFFFFF);
  }
  __syncthreads();
}

// The P first of what is left, in order, to `chosen`.
__device__ __forceinline__ void Choose(const RoutingRule& rule, const Scores& scores, int* chosen) {
  for (int i = static_cast<int>(threadIdx.x); i < rule.num_experts; i += kThreads) {
    const float own = scores.biased[i];
    if (own != own) continue;
    const int before = Before(scores.biased, rule.num_experts, own, i);
    if (before < rule.per_token) chosen[before] = i;
  }
  __syncthreads();
}

// `chosen` in any order; weights add up in that of the ids.
__device__ __forceinline__ void StoreChosen(const RoutingRule& rule, const Scores& scores,
                                            const int* chosen, bool is_padding, std::int32_t* ids,
                                            float* weights) {
  __shared__ int sorted[kMostPerToken];
  const int own = static_cast<int>(threadIdx.x);
  if (own < rule.per_token) {
    int rank = 0;
    for (int j = 0; j < rule.per_token; ++j) rank += chosen[j] < chosen[own] ? 1 : 0;
    sorted[rank] = chosen[own];
  }
  __syncthreads();
  if (own >= rule.per_token) return;
  float sum = 0.0F;
  for (int i = 0; i < rule.per_token; ++i) sum = __fadd_rn(sum, scores.plain[sorted[i]]);
  float weight = scores.plain[sorted[own]];
  if (rule.normalise) weight = __fdiv_rn(weight, __fadd_rn(sum, 1e-20F));
  ids[own] = is_padding ? -1 : sorted[own];
  weights[own] = __fmul_rn(weight, rule.factor);
}

__global__ __launch_bounds__(kThreads) void RouteExpertsKernel(RoutingRule rule,
                                                               const float* logits,
                                                               const float* bias,
                                                               const std::int32_t* token_seq,
                                                               std::int32_t* ids, float* weights) {
  extern __shared__ float shared[];
  __shared__ int chosen[kMostPerToken];
  WaitForPrevious();
  AllowNext();
  const auto token = static_cast<std::int64_t>(blockIdx.x);
  const Scores scores = {shared, shared + rule.num_experts};
  Score(rule, logits + token * rule.num_experts, bias, scores);
  DropGroups(rule, scores);
  Choose(rule, scores, chosen);
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
          .block = dim3(kThreads),
          .shared_bytes = static_cast<std::size_t>(rule.num_experts) * 8},
         stream, rule, routing.logits.as<float>(), routing.bias.as<float>(), token_seq,
         choice.ids.as<std::int32_t>(), choice.weights.as<float>());
}

}  // namespace thinkwire::worker::kernels
