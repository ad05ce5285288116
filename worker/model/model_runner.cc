#include "worker/model/model_runner.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/status.h"
#include "worker/kernels/devices.h"
#include "worker/model/checkpoint_weights.h"
#include "worker/model/config.h"
#include "worker/model/fault.h"
#include "worker/model/fingerprint.h"
#include "worker/model/kv_cache.h"
#include "worker/model/random_weights.h"
#include "worker/model/tensor_parallel.h"
#include "worker/model/threaded_runner.h"
#include "worker/parallel/communicators.h"

namespace thinkwire::worker::model {
namespace {

using engine::RunnerLimits;

// What the backends' KV layouts are built of.
constexpr std::int32_t kBlockTokensUnit = 16;

absl::Status CheckRange(absl::string_view name, std::int32_t value, std::int32_t low,
                        std::int32_t high, absl::string_view why = "") {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, "; allowed: ", low, " to ", high, why));
}

// Limits without num_blocks, or the first option that is out of range.
absl::StatusOr<RunnerLimits> ChooseLimits(const ModelOptions& options, const ModelConfig& config) {
  constexpr std::int32_t kMaxSlots = 4096;
  constexpr std::int32_t kMaxBatchedTokens = 1 << 16;
  constexpr std::int32_t kMaxBlockTokens = 256;
  constexpr std::int32_t kMaxInFlight = 8;
  const auto longest = static_cast<std::int32_t>(config.max_position_embeddings);
  const auto rows = static_cast<std::int32_t>(config.vocab_size);
  RunnerLimits limits;
  limits.max_num_seqs = options.max_num_seqs;
  limits.max_num_batched_tokens = options.max_num_batched_tokens;
  limits.max_model_len = options.max_model_len == 0 ? longest : options.max_model_len;
  limits.block_tokens = options.block_tokens;
  limits.max_in_flight = options.max_in_flight;
  limits.vocab_size = options.num_token_ids == 0 ? rows : options.num_token_ids;
  RETURN_IF_ERROR(CheckRange("max_num_seqs", limits.max_num_seqs, 1, kMaxSlots));
  RETURN_IF_ERROR(CheckRange("max_num_batched_tokens", limits.max_num_batched_tokens,
                             limits.max_num_seqs, kMaxBatchedTokens,
                             ", and no fewer than max_num_seqs"));
  RETURN_IF_ERROR(CheckRange("max_model_len", limits.max_model_len, 1, longest,
                             ", the model's max_position_embeddings"));
  RETURN_IF_ERROR(
      CheckRange("block_tokens", limits.block_tokens, kBlockTokensUnit, kMaxBlockTokens));
  if (limits.block_tokens % kBlockTokensUnit != 0) {
    return absl::InvalidArgumentError(absl::StrCat("block_tokens is ", limits.block_tokens,
                                                   "; allowed: multiples of ", kBlockTokensUnit));
  }
  RETURN_IF_ERROR(CheckRange("max_in_flight", limits.max_in_flight, 1, kMaxInFlight));
  RETURN_IF_ERROR(CheckRange("the tokenizer's number of ids", limits.vocab_size, 1, rows,
                             ", the model's vocab_size"));
  return limits;
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenWeights(const ModelOptions& options,
                                                          const ModelConfig& config) {
  if (options.random_weights) return std::make_unique<RandomWeights>(options.seed);
  ASSIGN_OR_RETURN(auto checkpoint, CheckpointWeights::Open(options.model_dir, config));
  return checkpoint;
}

std::string GiB(std::int64_t bytes) {
  return absl::StrFormat("%.1f GiB", static_cast<double>(bytes) / (1 << 30));
}

// What logit biases and penalties take on each rank: a sequence's counts, adjusted logits, biases.
std::int64_t AdjustingBytes(const RunnerLimits& limits) {
  constexpr auto kBiasBytes = static_cast<std::int64_t>(
      engine::kNumPhases * engine::kMaxLogitBiases * sizeof(kernels::LogitBias));
  return limits.max_num_seqs * (8 * std::int64_t{limits.vocab_size} + kBiasBytes);
}

// Memory of a rank on its own device: what is free, and what all but the KV cache takes of it.
// Activations and the device's scratch memory grow with the tokens of a step, logits with the
// sequences; recorded steps and the libraries' own memory come out of a fixed reserve.
absl::StatusOr<std::int32_t> ChooseDeviceBlocks(const ModelOptions& options,
                                                const ModelConfig& config,
                                                const RunnerLimits& limits,
                                                const kernels::Backend& device) {
  constexpr std::int64_t kReserveBytes = std::int64_t{3} << 29;
  const std::int64_t ranks = options.tensor_parallel_size;
  const RankShape shape = ShapeOfRank(config, 0, options.tensor_parallel_size);
  const KvLayout layout =
      GroupedQueryKvLayout(config, shape, limits.block_tokens, device.activation_dtype());
  const std::int64_t embedding_bytes = 2 * config.vocab_size * config.hidden_size;
  const std::int64_t weights =
      (2 * CountParameters(config) - embedding_bytes) / ranks + embedding_bytes;
  const std::int64_t qkv = (shape.num_heads + 2 * shape.num_kv_heads) * config.head_dim;
  const std::int64_t token_bytes =
      2 * (4 * config.hidden_size + 2 * qkv + shape.ffn) + std::max(4 * qkv, 4 * shape.ffn);
  const std::int64_t workspace = limits.max_num_batched_tokens * token_bytes +
                                 limits.max_num_seqs * 8 * shape.vocab * ranks +
                                 AdjustingBytes(limits) + kReserveBytes;
  const auto usable = static_cast<std::int64_t>(static_cast<double>(device.FreeMemory()) *
                                                options.gpu_memory_utilization);
  KvCacheDemand demand;
  demand.memory_bytes = options.kv_cache_memory_bytes > 0 ? options.kv_cache_memory_bytes / ranks
                                                          : usable - weights - workspace;
  demand.block_bytes = layout.block_bytes();
  demand.block_tokens = limits.block_tokens;
  demand.max_num_seqs = limits.max_num_seqs;
  demand.max_model_len = limits.max_model_len;
  if (demand.memory_bytes < demand.block_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the model does not fit: of ", GiB(device.FreeMemory()), " free on a device ", GiB(usable),
        " may be taken (gpu_memory_utilization), weights take ", GiB(weights), " and workspace ",
        GiB(workspace),
        "; lower max_num_batched_tokens or max_num_seqs, raise tensor_parallel_size, or serve a "
        "smaller variant"));
  }
  return ChooseNumBlocks(demand);
}

// Blocks in the KV cache, after what the weights will take of the machine's memory.
absl::StatusOr<std::int32_t> ChooseBlocks(const ModelOptions& options, const ModelConfig& config,
                                          const RunnerLimits& limits,
                                          const kernels::Backend& device) {
  if (device.FreeMemory() > 0) return ChooseDeviceBlocks(options, config, limits, device);
  const std::int32_t ranks = options.tensor_parallel_size;
  const KvLayout layout = GroupedQueryKvLayout(config, ShapeOfRank(config, 0, ranks),
                                               limits.block_tokens, device.activation_dtype());
  const std::int64_t embedding_bytes = 2 * config.vocab_size * config.hidden_size;
  const std::int64_t weight_bytes = 2 * CountParameters(config) + (ranks - 1) * embedding_bytes;
  KvCacheDemand demand;
  demand.memory_bytes = options.kv_cache_memory_bytes;
  demand.block_bytes = layout.block_bytes() * ranks;
  demand.available_bytes = std::max<std::int64_t>(
      0, AvailableHostMemory() - weight_bytes - ranks * AdjustingBytes(limits));
  demand.block_tokens = limits.block_tokens;
  demand.max_num_seqs = limits.max_num_seqs;
  demand.max_model_len = limits.max_model_len;
  return ChooseNumBlocks(demand);
}

ModelInfo Describe(const ModelConfig& config, const RunnerLimits& limits,
                   const WeightSource& source, const std::string& device, std::int32_t ranks) {
  ModelInfo info;
  info.architecture = config.architecture;
  info.end_of_sequence_ids = config.end_of_sequence_ids;
  info.parameters = CountParameters(config);
  info.kv_cache_tokens = static_cast<std::int64_t>(limits.num_blocks) * limits.block_tokens;
  info.device = device;
  info.stored_weights = source.stored_as();
  const std::string architecture(
      std::pair<std::string, std::string>(absl::StrSplit(device, absl::MaxSplits(' ', 1))).first);
  info.fingerprint = Fingerprint(config, source, ranks, architecture);
  return info;
}

// A model whose options and files are right, before a device is asked for anything.
struct CheckedModel {
  ModelConfig config;
  RunnerLimits limits;
  std::unique_ptr<WeightSource> weights;
  Fault fault;
};

absl::StatusOr<CheckedModel> Check(const ModelOptions& options) {
  CheckedModel model;
  ASSIGN_OR_RETURN(model.config, LoadModelConfig(options.model_dir));
  RETURN_IF_ERROR(CheckSplit(model.config, options.tensor_parallel_size));
  ASSIGN_OR_RETURN(model.limits, ChooseLimits(options, model.config));
  ASSIGN_OR_RETURN(model.fault, ParseFault(options.fault));
  if (model.fault.rank >= options.tensor_parallel_size) {
    return absl::InvalidArgumentError(absl::StrCat("the fault's rank ", model.fault.rank,
                                                   " is none of ", options.tensor_parallel_size));
  }
  ASSIGN_OR_RETURN(model.weights, OpenWeights(options, model.config));
  return model;
}

absl::StatusOr<Devices> Open(const ModelOptions& options, const CheckedModel& model) {
  Devices devices;
  std::string error;
  devices.backends = kernels::OpenDevices(
      {options.device, options.tensor_parallel_size, options.cpu_threads}, &error);
  if (devices.backends.empty()) return absl::InvalidArgumentError(error);
  const std::int64_t head_dim = devices.backends.front()->only_head_dim();
  if (head_dim != 0 && model.config.head_dim != head_dim) {
    return absl::InvalidArgumentError(
        absl::StrCat("config.json: head_dim is ", model.config.head_dim, "; supported on ",
                     devices.backends.front()->name(), ": ", head_dim));
  }
  const RankShape shape = ShapeOfRank(model.config, 0, options.tensor_parallel_size);
  devices.communicators =
      parallel::OpenCommunicators(devices.backends,
                                  {.max_tokens = model.limits.max_num_batched_tokens,
                                   .hidden = model.config.hidden_size,
                                   .max_rows = model.limits.max_num_seqs,
                                   .vocab = shape.vocab * options.tensor_parallel_size},
                                  &error);
  if (devices.communicators.empty()) return absl::InvalidArgumentError(error);
  return devices;
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadOn(Devices devices, CheckedModel model,
                                                    const ModelOptions& options) {
  const std::unique_ptr<WeightSource> source = std::move(model.weights);
  ThreadedRunner::Parts parts = {.config = std::move(model.config),
                                 .info = {},
                                 .limits = model.limits,
                                 .devices = {},
                                 .stamp_steps = options.stamp_steps,
                                 .fault = model.fault};
  const kernels::Backend& device = *devices.backends.front();
  if (model.fault.kind == Fault::Kind::kDeviceError && device.stream() == nullptr) {
    return absl::InvalidArgumentError("the fault device_error needs a GPU");
  }
  ASSIGN_OR_RETURN(parts.limits.num_blocks,
                   ChooseBlocks(options, parts.config, parts.limits, device));
  parts.info =
      Describe(parts.config, parts.limits, *source, device.name(), options.tensor_parallel_size);
  parts.devices = std::move(devices);
  return std::make_unique<ThreadedRunner>(std::move(parts), *source);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options) {
  ASSIGN_OR_RETURN(CheckedModel model, Check(options));
  ASSIGN_OR_RETURN(Devices devices, Open(options, model));
  return LoadOn(std::move(devices), std::move(model), options);
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options,
                                                       Devices devices) {
  ASSIGN_OR_RETURN(CheckedModel model, Check(options));
  return LoadOn(std::move(devices), std::move(model), options);
}

}  // namespace thinkwire::worker::model
