#include "worker/model/memory_budget.h"

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "worker/model/counting_backend.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/rank.h"
#include "worker/model/step/result_queue.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::model {
namespace {

std::string GiB(std::int64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

// Weights of which the sizes are known and nothing else.
class SizesAlone final : public WeightSource {
 public:
  HostSlice Slice(const TensorSpec& spec, const Region& region) const override {
    HostSlice host;
    host.slice = {.encoding = spec.encoding,
                  .rows = region.rows,
                  .cols = region.cols,
                  .row_stride = region.cols};
    return host;
  }
  std::uint64_t identity() const override { return 0; }
  std::string stored_as() const override { return "sizes"; }
};

absl::StatusOr<std::int32_t> ChooseDeviceBlocks(const ModelPlan& plan, const step::Limits& limits,
                                                const MemoryOffer& offer, KvCacheDemand demand) {
  // Recorded steps, the libraries' own memory, and scratch memory that is not counted.
  constexpr std::int64_t kReserveBytes = std::int64_t{3} << 29;
  const auto [weights, counted] =
      CountRank(plan, ShapeOfRank(plan, 0, offer.ranks), limits, offer.device);
  const std::int64_t workspace = counted + kReserveBytes;
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

RankMemory CountRank(const ModelPlan& plan, const RankShape& shape, const step::Limits& limits,
                     const kernels::Capabilities& device) {
  CountingBackend backend(device);
  parallel::SoloCommunicator communicator(backend);
  // As large as the table of rotations, and never read.
  const auto floats = static_cast<std::size_t>(limits.max_model_len * plan.config.head_dim);
  const auto rope = std::make_unique_for_overwrite<float[]>(floats);
  const Rank rank(plan, shape, limits, SizesAlone(), {rope.get(), floats}, backend, communicator);
  const ResultQueue results(limits, backend);
  const bool is_host = device.kind == kernels::DeviceKind::kCpu;
  const std::int64_t total = backend.device_bytes() + (is_host ? backend.host_bytes() : 0);
  const std::int64_t weights = rank.model().bytes();
  return {.weights = weights, .workspace = total - weights};
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
  if (offer.device_bytes > 0) return ChooseDeviceBlocks(plan, limits, offer, demand);
  const auto [weights, workspace] = CountRank(plan, shape, limits, offer.device);
  demand.memory_bytes = offer.kv_cache_memory_bytes;
  demand.block_bytes *= offer.ranks;
  demand.available_bytes =
      std::max<std::int64_t>(0, AvailableHostMemory() - offer.ranks * (weights + workspace));
  return ChooseNumBlocks(demand);
}

}  // namespace thinkwire::worker::model
