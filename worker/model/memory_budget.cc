#include "worker/model/memory_budget.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {
namespace {

std::string GiB(std::int64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

std::int64_t EmbeddingBytes(const ModelPlan& plan) {
  return 2 * plan.config.vocab_size * plan.config.hidden_size;
}

// What logit biases and penalties take on each rank: a sequence's counts, adjusted logits, biases.
std::int64_t AdjustingBytes(const step::Limits& limits) {
  constexpr auto kBiasBytes =
      static_cast<std::int64_t>(step::kNumPhases * step::kMaxLogitBiases * sizeof(step::LogitBias));
  return limits.max_num_seqs * (8 * std::int64_t{limits.vocab_size} + kBiasBytes);
}

// On each device. Activations and scratch memory grow with the tokens of a step, logits with the
// sequences; recorded steps and the libraries' own memory come out of a fixed reserve.
std::int64_t WorkspaceBytes(const ModelPlan& plan, const step::Limits& limits,
                            const RankShape& shape, std::int64_t ranks) {
  constexpr std::int64_t kReserveBytes = std::int64_t{3} << 29;
  const std::int64_t qkv =
      shape.of(Division::kQueryHeads).size() + 2 * shape.of(Division::kKvHeads).size();
  const std::int64_t ffn = shape.of(Division::kFfn).size();
  const std::int64_t token_bytes =
      2 * (5 * plan.config.hidden_size + 2 * qkv + ffn) + std::max(4 * qkv, 4 * ffn);
  return limits.max_num_batched_tokens * token_bytes +
         limits.max_num_seqs * 8 * shape.of(Division::kVocabulary).size() * ranks +
         AdjustingBytes(limits) + kReserveBytes;
}

absl::StatusOr<std::int32_t> ChooseDeviceBlocks(const ModelPlan& plan, const step::Limits& limits,
                                                const MemoryOffer& offer, KvCacheDemand demand) {
  const std::int64_t embedding = EmbeddingBytes(plan);
  const std::int64_t weights = (2 * CountParameters(plan) - embedding) / offer.ranks + embedding;
  const std::int64_t workspace =
      WorkspaceBytes(plan, limits, ShapeOfRank(plan, 0, offer.ranks), offer.ranks);
  const auto usable =
      static_cast<std::int64_t>(static_cast<double>(offer.device_bytes) * offer.utilization);
  const std::int64_t left = usable - weights - workspace;
  demand.memory_bytes =
      offer.kv_cache_memory_bytes > 0 ? offer.kv_cache_memory_bytes / offer.ranks : left;
  const std::string numbers =
      absl::StrCat("of ", GiB(offer.device_bytes), " free on a device ", GiB(usable),
                   " may be taken (gpu_memory_utilization), weights take ", GiB(weights),
                   " and workspace ", GiB(workspace));
  if (left < demand.block_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model does not fit: ", numbers,
        "; lower max_num_batched_tokens or max_num_seqs, raise tensor_parallel_size, or serve a "
        "smaller variant"));
  }
  if (demand.memory_bytes > left) {
    return absl::InvalidArgumentError(
        absl::StrCat("kv_cache_memory_bytes does not fit: it asks for ", GiB(demand.memory_bytes),
                     " on a device, where ", GiB(left), " are left: ", numbers));
  }
  return ChooseNumBlocks(demand);
}

}  // namespace

absl::StatusOr<std::int32_t> ChooseBlocks(const ModelPlan& plan, const step::Limits& limits,
                                          const MemoryOffer& offer) {
  const KvLayout layout =
      KvLayoutOf(plan, ShapeOfRank(plan, 0, offer.ranks), limits.block_tokens, offer.dtype);
  KvCacheDemand demand;
  demand.block_bytes = layout.block_bytes();
  demand.block_tokens = limits.block_tokens;
  demand.max_num_seqs = limits.max_num_seqs;
  demand.max_model_len = limits.max_model_len;
  if (offer.device_bytes > 0) return ChooseDeviceBlocks(plan, limits, offer, demand);
  demand.memory_bytes = offer.kv_cache_memory_bytes;
  demand.block_bytes *= offer.ranks;
  const std::int64_t weights = 2 * CountParameters(plan) + (offer.ranks - 1) * EmbeddingBytes(plan);
  demand.available_bytes = std::max<std::int64_t>(
      0, AvailableHostMemory() - weights - offer.ranks * AdjustingBytes(limits));
  return ChooseNumBlocks(demand);
}

}  // namespace thinkwire::worker::model
