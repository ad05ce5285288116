#include "worker/model_options.h"

#include <utility>

#include "common/status.h"
#include "common/version.h"
#include "worker/kernels/device.h"
#include "worker/kernels/devices.h"
#include "worker/model/step_defaults.h"
#include "worker/parallel/gather.h"
#include "worker/parallel/group_key.h"
#include "worker/rank_span.h"

namespace thinkwire::worker {
namespace {

absl::StatusOr<parallel::GroupPlace> PlaceOf(const WorkerConfig& config) {
  ASSIGN_OR_RETURN(const RankSpan span, RanksOf(config));
  ASSIGN_OR_RETURN(parallel::GroupKey key, parallel::GroupKey::Read(config.group_token_file));
  return parallel::GroupPlace{.first_rank = span.first,
                              .num_ranks = span.count,
                              .leader = config.leader,
                              .key = std::move(key),
                              .version = Version()};
}

}  // namespace

absl::StatusOr<model::ModelOptions> MakeModelOptions(const WorkerConfig& config,
                                                     std::int32_t num_token_ids) {
  model::ModelOptions options;
  options.model_dir = config.model;
  options.random_weights = config.random_weights;
  options.seed = static_cast<std::uint64_t>(config.seed);
  options.num_layers = config.num_layers;
  options.device = kernels::DeviceFor(config.device, config.tensor_parallel_size);
  options.quantization = config.quantization;
  const auto kind =
      options.device == "cuda" ? kernels::DeviceKind::kCuda : kernels::DeviceKind::kCpu;
  const model::StepDefaults defaults = model::StepDefaultsOf(kind);
  options.tensor_parallel_size = config.tensor_parallel_size;
  if (!config.ranks.empty()) {
    ASSIGN_OR_RETURN(options.group, PlaceOf(config));
  }
  options.cpu_threads = config.cpu_threads;
  options.max_model_len = config.max_model_len;
  options.max_num_seqs = config.max_num_seqs;
  if (options.max_num_seqs == 0) options.max_num_seqs = defaults.max_num_seqs;
  options.max_num_batched_tokens = config.max_num_batched_tokens;
  if (options.max_num_batched_tokens == 0) {
    options.max_num_batched_tokens = defaults.max_num_batched_tokens;
  }
  options.gpu_memory_utilization = config.gpu_memory_utilization;
  options.gpu_memory_bytes = static_cast<std::int64_t>(config.gpu_memory_bytes);
  options.kv_cache_memory_bytes = config.kv_cache_memory_bytes;
  options.activation_dtype = config.activation_dtype;
  options.kv_cache_dtype = config.kv_cache_dtype;
  options.kv_scales_file = config.kv_scales_file;
  options.block_tokens = config.block_size;
  options.num_token_ids = num_token_ids;
  return options;
}

}  // namespace thinkwire::worker
