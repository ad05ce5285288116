#include "worker/model/memory_budget.h"

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/model/count_rank.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_shape.h"
#include "worker/model/step/decode_buckets.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int64_t kDefaultTokensASlot = 4096;

std::string GiB(std::int64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

std::int64_t RanksHere(const MemoryOffer& offer) {
  return offer.ranks_here == 0 ? offer.ranks : offer.ranks_here;
}

absl::Status DoesNotFit(absl::string_view numbers, absl::string_view remedy) {
  return absl::InvalidArgumentError(
      absl::StrCat("the model does not fit: ", numbers,
                   "; lower max_model_len, max_num_batched_tokens or max_num_seqs, ", remedy,
                   "serve a smaller variant"));
}

// `numbers`, and what is missing where a block wants more than is left.
std::string WithMissing(std::int64_t block, std::int64_t left, absl::string_view numbers) {
  return absl::StrCat(numbers, "; ", block - left, " bytes are missing");
}

absl::Status CacheDoesNotFit(std::int64_t wanted, absl::string_view where, std::int64_t left,
                             absl::string_view numbers) {
  return absl::InvalidArgumentError(absl::StrCat("kv_cache_memory_bytes does not fit: it asks for ",
                                                 GiB(wanted), " ", where, ", where ", GiB(left),
                                                 " are left: ", numbers));
}

// What a GPU's rank takes beside what is counted, after it was asked what is free: attention's
// partial results (68 MB) and what libraries load at their first use; and the steps that it
// records, of each layer 0.05 to 0.08 MB a bucket (tests/bench/RESULTS.md).
std::int64_t ReserveBytes(const ModelPlan& plan, const step::Limits& limits) {
  constexpr std::int64_t kOnce = std::int64_t{1} << 27;
  constexpr std::int64_t kRecorded = std::int64_t{96} << 10;
  const auto buckets = static_cast<std::int64_t>(DecodeBuckets(limits.max_num_seqs).size());
  return kOnce + kRecorded * buckets * static_cast<std::int64_t>(plan.layers.size());
}

absl::StatusOr<std::int32_t> ChooseDeviceBlocks(const ModelPlan& plan, const step::Limits& limits,
                                                const MemoryOffer& offer, KvCacheDemand demand) {
  const RankMemory rank = CountRank(plan, ShapeOfRank(plan, 0, offer.ranks), limits, offer.device);
  const std::int64_t workspace = rank.workspace + ReserveBytes(plan, limits);
  const auto usable =
      static_cast<std::int64_t>(static_cast<double>(offer.device_bytes) * offer.utilization);
  const std::int64_t left = usable - rank.weights - workspace;
  demand.memory_bytes =
      offer.kv_cache_memory_bytes > 0 ? offer.kv_cache_memory_bytes / offer.ranks : left;
  const std::string numbers =
      absl::StrCat("of ", GiB(offer.device_bytes), " free on a device ", GiB(usable),
                   " may be taken (gpu_memory_utilization, gpu_memory_bytes), weights take ",
                   GiB(rank.weights), " and workspace ", GiB(workspace));
  if (left < demand.block_bytes) {
    return DoesNotFit(WithMissing(demand.block_bytes, left, numbers),
                      "raise tensor_parallel_size, or ");
  }
  if (demand.memory_bytes > left) {
    return CacheDoesNotFit(demand.memory_bytes, "on a device", left, numbers);
  }
  return ChooseNumBlocks(demand);
}

// All ranks in the host's memory.
absl::StatusOr<std::int32_t> ChooseHostBlocks(const ModelPlan& plan, const step::Limits& limits,
                                              const MemoryOffer& offer, KvCacheDemand demand) {
  const std::int64_t ranks = RanksHere(offer);
  demand.memory_bytes = offer.kv_cache_memory_bytes / offer.ranks * ranks;
  demand.block_bytes *= ranks;
  // The table of rotations, of which each rank has a copy in its workspace.
  const std::int64_t rotations = std::int64_t{limits.max_model_len} * plan.config.head_dim *
                                 static_cast<std::int64_t>(sizeof(float));
  const std::string available =
      absl::StrCat("of ", GiB(offer.host_bytes), " that this machine has left ");
  // Before it is allocated to be counted.
  if (rotations > offer.host_bytes) {
    return DoesNotFit(absl::StrCat(available, "the positions' rotations take ", GiB(rotations)),
                      "or ");
  }
  const RankMemory rank = CountRank(plan, ShapeOfRank(plan, 0, offer.ranks), limits, offer.device);
  const std::int64_t workspace = rotations + ranks * rank.workspace;
  const std::int64_t left = offer.host_bytes - ranks * rank.weights - workspace;
  const std::string numbers = absl::StrCat(available, "weights take ", GiB(ranks * rank.weights),
                                           " and workspace ", GiB(workspace));
  if (left < demand.block_bytes) {
    return DoesNotFit(WithMissing(demand.block_bytes, left, numbers), "or ");
  }
  if (demand.memory_bytes > left) {
    return CacheDoesNotFit(demand.memory_bytes, "on this machine", left, numbers);
  }
  demand.available_bytes = left;
  return ChooseNumBlocks(demand);
}

}  // namespace

absl::StatusOr<std::int32_t> ChooseNumBlocks(const KvCacheDemand& demand) {
  const auto blocks_of = [&demand](std::int64_t tokens) {
    return (tokens + demand.block_tokens - 1) / demand.block_tokens;
  };
  const std::int64_t most = demand.max_num_seqs * blocks_of(demand.max_model_len);
  std::int64_t memory = demand.memory_bytes;
  if (memory == 0) {
    const std::int64_t tokens = std::min<std::int64_t>(demand.max_model_len, kDefaultTokensASlot);
    const std::int64_t wanted = demand.max_num_seqs * blocks_of(tokens);
    memory = std::min(wanted * demand.block_bytes, demand.available_bytes / 2);
  }
  const std::int64_t blocks = std::min(most, memory / demand.block_bytes);
  if (blocks < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the KV cache's ", memory, " bytes hold no block of ", demand.block_tokens,
                     " tokens, which needs ", demand.block_bytes, " bytes"));
  }
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::min(blocks, kMost));
}

absl::StatusOr<std::int32_t> ChooseBlocks(const ModelPlan& plan, const step::Limits& limits,
                                          const MemoryOffer& offer) {
  const RankShape shape = ShapeOfRank(plan, 0, offer.ranks);
  KvCacheDemand demand;
  demand.block_bytes =
      KvLayoutOf(plan, shape, limits.block_tokens, offer.device.activation).block_bytes();
  demand.block_tokens = limits.block_tokens;
  demand.max_num_seqs = limits.max_num_seqs;
  demand.max_model_len = limits.max_model_len;
  if (offer.device.kind == kernels::DeviceKind::kCpu) {
    return ChooseHostBlocks(plan, limits, offer, demand);
  }
  return ChooseDeviceBlocks(plan, limits, offer, demand);
}

std::int64_t EmbeddingBytes(const ModelPlan& plan) {
  return 2 * plan.embedding.spec.rows * plan.embedding.spec.cols;
}

bool NeedsHostEmbedding(const ModelPlan& plan, const step::Limits& limits,
                        const MemoryOffer& offer) {
  if (offer.device.kind == kernels::DeviceKind::kCpu) return false;
  if (RanksHere(offer) * EmbeddingBytes(plan) > offer.host_bytes) return false;
  const auto blocks = ChooseBlocks(plan, limits, offer);
  if (!blocks.ok()) return true;
  step::Limits held = limits;
  held.num_blocks = *blocks;
  return offer.kv_cache_memory_bytes == 0 && held.context() < limits.max_model_len;
}

}  // namespace thinkwire::worker::model
