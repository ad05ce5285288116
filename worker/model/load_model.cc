#include "worker/model/load_model.h"

#include <algorithm>
#include <future>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/status.h"
#include "worker/model/activation_dtype.h"
#include "worker/model/check_device.h"
#include "worker/model/checkpoint/fp8_weights.h"
#include "worker/model/checkpoint/kv_scales.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/nf4_tensor.h"
#include "worker/model/checkpoint/random_weights.h"
#include "worker/model/describe_model.h"
#include "worker/model/family_fit.h"
#include "worker/model/host_memory.h"
#include "worker/model/kv_cache_dtype.h"
#include "worker/model/layers/rank_shape.h"
#include "worker/model/leader_runner.h"
#include "worker/model/open_backends.h"
#include "worker/parallel/communicators.h"
#include "worker/parallel/gather.h"
#include "worker/parallel/tcp_communicator.h"

namespace thinkwire::worker::model {
namespace {

absl::Status CheckRange(absl::string_view name, std::int32_t value, std::int32_t low,
                        std::int32_t high, absl::string_view why = "") {
  if (value >= low && value <= high) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(name, " is ", value, "; allowed: ", low, " to ", high, why));
}

// Limits without num_blocks, or the first option that is out of range.
absl::StatusOr<step::Limits> ChooseLimits(const ModelOptions& options, const ModelConfig& config) {
  constexpr std::int32_t kMaxInFlight = 8;
  const auto longest = static_cast<std::int32_t>(config.max_position_embeddings);
  const auto rows = static_cast<std::int32_t>(config.vocab_size);
  step::Limits limits;
  limits.max_num_seqs = options.max_num_seqs;
  limits.max_num_batched_tokens = options.max_num_batched_tokens;
  limits.max_model_len = options.max_model_len == 0 ? longest : options.max_model_len;
  limits.block_tokens = options.block_tokens;
  limits.max_in_flight = options.max_in_flight;
  limits.vocab_size = options.num_token_ids == 0 ? rows : std::min(options.num_token_ids, rows);
  RETURN_IF_ERROR(CheckRange("max_num_seqs", limits.max_num_seqs, 1, kMaxNumSeqs));
  RETURN_IF_ERROR(CheckRange("max_num_batched_tokens", limits.max_num_batched_tokens,
                             limits.max_num_seqs, kMaxBatchedTokens,
                             ", and no fewer than max_num_seqs"));
  RETURN_IF_ERROR(CheckRange("max_model_len", limits.max_model_len, kMinModelLen,
                             std::min(longest, kMaxModelLen),
                             longest <= kMaxModelLen ? ", the model's max_position_embeddings"
                                                     : ", fewer than the model's own limit"));
  RETURN_IF_ERROR(CheckRange("block_size", limits.block_tokens, kMinBlockTokens, kMaxBlockTokens));
  if (limits.block_tokens % kMinBlockTokens != 0) {
    return absl::InvalidArgumentError(absl::StrCat("block_size is ", limits.block_tokens,
                                                   "; allowed: multiples of ", kMinBlockTokens));
  }
  RETURN_IF_ERROR(CheckRange("max_in_flight", limits.max_in_flight, 1, kMaxInFlight));
  RETURN_IF_ERROR(CheckRange("the tokenizer's number of ids", limits.vocab_size, 1, rows));
  return limits;
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenWeights(const ModelOptions& options,
                                                          const ModelFiles& files,
                                                          ModelPlan& plan) {
  if (options.random_weights) return std::make_unique<RandomWeights>(options.seed);
  return files.Weights(plan);
}

// What --num_layers leaves, if anything is asked.
absl::Status KeepLayers(const ModelOptions& options, ModelConfig& config) {
  if (options.num_layers == 0) return absl::OkStatus();
  if (options.random_weights) return KeepFirstLayers(options.num_layers, config);
  return absl::InvalidArgumentError(
      "num_layers is only for random_weights: a model without some of its layers is another");
}

// What --quantization asks of random weights, where it does.
std::optional<kernels::Encoding> DrawnAs(const ModelOptions& options) {
  if (!options.random_weights) return std::nullopt;
  if (options.quantization == "awq") return kernels::Encoding::kInt4;
  if (options.quantization == "q4_k_m") return kernels::Encoding::kQ4K;
  if (options.quantization == "q8_0") return kernels::Encoding::kQ8_0;
  return std::nullopt;
}

// Whether --quantization asks that weights which are not packed be made FP8.
bool MakesFp8(const ModelOptions& options, const ModelPlan& plan) {
  const bool files_are_dense = options.random_weights || !plan.config.quantization;
  return options.quantization == "fp8" && files_are_dense && !IsPacked(plan);
}

// --quantization asserts what the files have.
absl::Status CheckQuantization(const ModelOptions& options, const ModelPlan& plan) {
  if (DrawnAs(options).has_value()) return absl::OkStatus();
  const std::string packed = plan.config.quantization ? plan.config.quantization->method() : "gguf";
  // What is unpacked while it is loaded is not as a dense checkpoint has it.
  const std::string stored = IsPacked(plan) || packed == kBitsandbytes ? packed : "none";
  if (options.quantization == "auto" || options.quantization == stored) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("quantization is ", options.quantization,
                                                 ", but the weights are ", EncodingsOf(plan),
                                                 ", which auto and ", stored, " allow"));
}

// Where the KV cache's scales come from, now that the checkpoint has said which it holds.
absl::Status SettleKvCache(const ModelOptions& options, ModelPlan& plan) {
  const auto& quantization = plan.config.quantization;
  const bool files_say = quantization && quantization->has_fp8_kv_cache();
  KvCachePlan& kv = plan.kv_cache;
  ASSIGN_OR_RETURN(kv.is_fp8, KeepsFp8(options.kv_cache_dtype, plan.config));
  if (!kv.is_fp8) kv.scales.clear();
  if (options.kv_scales_file.empty()) {
    if (kv.is_fp8 && files_say && kv.scales.empty() && !options.random_weights) {
      plan.config.warnings.emplace_back(
          "config.json: kv_cache_scheme has scales, of which the checkpoint holds none: 1 is "
          "taken");
    }
    return absl::OkStatus();
  }
  if (!kv.is_fp8) {
    return absl::InvalidArgumentError("kv_scales_file is only for kv_cache_dtype fp8_e4m3");
  }
  ASSIGN_OR_RETURN(kv.scales, ReadKvScalesFile(options.kv_scales_file, plan.config.num_layers));
  return absl::OkStatus();
}

// A model whose options and files are right.
struct CheckedModel {
  ModelPlan plan;
  step::Limits limits;
  std::unique_ptr<WeightSource> weights;  // null until they are read
};

// All but the weights.
absl::StatusOr<CheckedModel> CheckShape(const ModelOptions& options, const ModelFiles& files) {
  CheckedModel model;
  ASSIGN_OR_RETURN(ModelConfig config, files.Config());
  RETURN_IF_ERROR(KeepLayers(options, config));
  model.plan = MakePlan(config);
  if (options.random_weights) {
    SetMatrixEncoding(DrawnAs(options).value_or(options.random_encoding), model.plan);
  }
  RETURN_IF_ERROR(CheckSplit(model.plan, options.tensor_parallel_size));
  ASSIGN_OR_RETURN(model.limits, ChooseLimits(options, config));
  return model;
}

absl::StatusOr<CheckedModel> Check(const ModelOptions& options) {
  const std::unique_ptr<ModelFiles> files = OpenModelFiles(options.model_dir);
  ASSIGN_OR_RETURN(CheckedModel model, CheckShape(options, *files));
  ASSIGN_OR_RETURN(model.weights, OpenWeights(options, *files, model.plan));
  if (MakesFp8(options, model.plan)) {
    ASSIGN_OR_RETURN(model.weights, Fp8Weights::Over(std::move(model.weights), model.plan));
  } else {
    RETURN_IF_ERROR(CheckQuantization(options, model.plan));
  }
  // Once more, now that it is known how the matrices are packed.
  RETURN_IF_ERROR(CheckSplit(model.plan, options.tensor_parallel_size));
  RETURN_IF_ERROR(CheckActivationDtype(options.activation_dtype, model.plan));
  RETURN_IF_ERROR(SettleKvCache(options, model.plan));
  return model;
}

// Without communicators.
absl::StatusOr<Devices> BackendsFor(const ModelOptions& options, const CheckedModel& model,
                                    OpenedBackends opened) {
  if (opened.backends.empty()) return absl::InvalidArgumentError(opened.error);
  Devices devices;
  devices.backends = std::move(opened.backends);
  const kernels::Capabilities& device = devices.backends.front()->capabilities();
  RETURN_IF_ERROR(CheckDevice(device, model.plan, options.tensor_parallel_size));
  if (model.plan.config.mla) return devices;
  const std::int64_t head_dim = device.only_head_dim;
  if (head_dim != 0 && model.plan.config.head_dim != head_dim) {
    return absl::InvalidArgumentError(absl::StrCat("config.json: head_dim is ",
                                                   model.plan.config.head_dim, "; supported on ",
                                                   device.name, ": ", head_dim));
  }
  return devices;
}

bool IsCpu(const Devices& devices) {
  return devices.backends.front()->capabilities().kind == kernels::DeviceKind::kCpu;
}

parallel::CommunicatorLimits LimitsOfCommunicators(const ModelOptions& options,
                                                   const CheckedModel& model) {
  const std::int64_t ranks = options.tensor_parallel_size;
  const RankShape shape = ShapeOfRank(model.plan, 0, options.tensor_parallel_size);
  return {.max_tokens = model.limits.max_num_batched_tokens,
          .hidden = model.plan.config.hidden_size,
          .max_rows = model.limits.most_draws(),
          .vocab = shape.of(Division::kVocabulary).size() * ranks};
}

absl::StatusOr<Devices> DevicesFor(const ModelOptions& options, const CheckedModel& model,
                                   OpenedBackends opened) {
  ASSIGN_OR_RETURN(Devices devices, BackendsFor(options, model, std::move(opened)));
  const int ranks = options.tensor_parallel_size;
  ASSIGN_OR_RETURN(const parallel::CommunicatorId id,
                   parallel::MakeCommunicatorId(*devices.backends.front(), ranks));
  ASSIGN_OR_RETURN(devices.communicators,
                   parallel::OpenCommunicators(id, 0, ranks, devices.backends,
                                               LimitsOfCommunicators(options, model)));
  return devices;
}

// Blocks for which this process has memory, and where its ranks keep the embedding.
// REQUIRES: the communicators have taken theirs.
absl::StatusOr<std::int32_t> ChooseOwnBlocks(const ModelOptions& options, const Devices& devices,
                                             CheckedModel& model) {
  const kernels::Backend& device = *devices.backends.front();
  const MemoryOffer offer = {
      .device_bytes = device.FreeMemory(),
      .host_bytes = AvailableHostMemory(),
      .utilization = options.gpu_memory_bytes > 0 ? 1 : options.gpu_memory_utilization,
      .kv_cache_memory_bytes = options.kv_cache_memory_bytes,
      .ranks = options.tensor_parallel_size,
      .ranks_here = RanksHere(options),
      .device = device.capabilities()};
  model.plan.host_embedding = NeedsHostEmbedding(model.plan, model.limits, offer);
  return ChooseBlocksOrAdvise(model.plan, model.limits, offer);
}

// `followers` as LeaderRunner::Parts has them.
absl::StatusOr<std::unique_ptr<ModelRunner>> LoadOn(Devices devices,
                                                    std::unique_ptr<PlanChannel> plans,
                                                    CheckedModel model, const ModelOptions& options,
                                                    Followers* followers = nullptr) {
  const kernels::Capabilities& device = devices.backends.front()->capabilities();
  RETURN_IF_ERROR(CheckDevice(device, model.plan, options.tensor_parallel_size));
  ASSIGN_OR_RETURN(model.limits.num_blocks, ChooseOwnBlocks(options, devices, model));
  if (followers != nullptr) {
    model.limits.num_blocks = followers->AgreeOnBlocks(model.limits.num_blocks);
  }
  LeaderRunner::Parts parts;
  parts.info =
      Describe(model.plan, model.limits, *model.weights, device, options.tensor_parallel_size);
  if (model.plan.host_embedding) {
    parts.info.host_embedding_bytes = RanksHere(options) * EmbeddingBytes(model.plan);
  }
  parts.ranks = {
      .plan = std::move(model.plan), .limits = model.limits, .stamp_steps = options.stamp_steps};
  parts.plans = std::move(plans);
  parts.followers = followers;
  parts.devices = std::move(devices);
  return std::make_unique<LeaderRunner>(std::move(parts), *model.weights);
}

// What must be the same in every process of a group, beside the fingerprint.
std::string LimitsInWords(const step::Limits& limits) {
  return absl::StrCat("max_num_seqs ", limits.max_num_seqs, ", max_num_batched_tokens ",
                      limits.max_num_batched_tokens, ", max_model_len ", limits.max_model_len,
                      ", block_size ", limits.block_tokens, ", ", limits.vocab_size, " token ids");
}

// What this process says of itself to its group.
parallel::Greeting GreetingOf(const ModelOptions& options, const CheckedModel& model,
                              const Devices& devices) {
  const kernels::Capabilities& device = devices.backends.front()->capabilities();
  const ModelInfo info =
      Describe(model.plan, model.limits, *model.weights, device, options.tensor_parallel_size);
  return {.version = options.group->version,
          .fingerprint = info.fingerprint,
          .limits = LimitsInWords(model.limits),
          .size = options.tensor_parallel_size,
          .first_rank = options.group->first_rank,
          .num_ranks = options.group->num_ranks,
          .use = parallel::LinkUse::kControl};
}

std::string BytesOf(const parallel::CommunicatorId& id) {
  return {id.bytes.data(), id.bytes.size()};
}

absl::StatusOr<parallel::CommunicatorId> ReadId(const std::string& bytes) {
  parallel::CommunicatorId id;
  if (bytes.size() != id.bytes.size()) {
    return absl::InvalidArgumentError("the leader's word to its group has the wrong length");
  }
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

// The communicators of this process's ranks. `sums` as Gathered or Joined has them, on the CPU;
// `id` is what all GPUs of the group have.
absl::StatusOr<std::vector<std::unique_ptr<parallel::Communicator>>> OpenInGroup(
    const ModelOptions& options, const CheckedModel& model, const Devices& devices,
    const parallel::CommunicatorId& id, std::vector<std::unique_ptr<parallel::PeerLink>> sums) {
  const parallel::GroupPlace& place = *options.group;
  const int size = options.tensor_parallel_size;
  if (IsCpu(devices)) {
    return parallel::OpenTcpCommunicators(place.first_rank, place.num_ranks, size, std::move(sums));
  }
  return parallel::OpenCommunicators(id, place.first_rank, size, devices.backends,
                                     LimitsOfCommunicators(options, model));
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadLeader(const ModelOptions& options,
                                                        std::unique_ptr<PlanChannel> plans,
                                                        CheckedModel model, OpenedBackends opened) {
  ASSIGN_OR_RETURN(Devices devices, BackendsFor(options, model, std::move(opened)));
  ASSIGN_OR_RETURN(
      const parallel::CommunicatorId id,
      parallel::MakeCommunicatorId(*devices.backends.front(), options.tensor_parallel_size));
  ASSIGN_OR_RETURN(const auto listener, parallel::GroupListener::Open(options.group->leader));
  ASSIGN_OR_RETURN(
      parallel::Gathered gathered,
      parallel::Gather(*listener, options.group->key, GreetingOf(options, model, devices),
                       IsCpu(devices), BytesOf(id)));
  auto followers = std::make_unique<Followers>(std::move(plans), std::move(gathered.members));
  ASSIGN_OR_RETURN(devices.communicators,
                   OpenInGroup(options, model, devices, id, std::move(gathered.sums)));
  Followers* const borrowed = followers.get();
  return LoadOn(std::move(devices), std::move(followers), std::move(model), options, borrowed);
}

}  // namespace

absl::StatusOr<Devices> OpenDevices(const ModelOptions& options) {
  ASSIGN_OR_RETURN(const CheckedModel model,
                   CheckShape(options, *OpenModelFiles(options.model_dir)));
  return DevicesFor(options, model, OpenBackends(options));
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans) {
  std::future<OpenedBackends> opening = OpenBackendsBeside(options);
  ASSIGN_OR_RETURN(CheckedModel model, Check(options));
  if (options.group) {
    return LoadLeader(options, std::move(plans), std::move(model), opening.get());
  }
  ASSIGN_OR_RETURN(Devices devices, DevicesFor(options, model, opening.get()));
  return LoadOn(std::move(devices), std::move(plans), std::move(model), options);
}

absl::StatusOr<std::unique_ptr<ModelRunner>> LoadModel(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans,
                                                       Devices devices) {
  ASSIGN_OR_RETURN(CheckedModel model, Check(options));
  return LoadOn(std::move(devices), std::move(plans), std::move(model), options);
}

absl::StatusOr<std::unique_ptr<Follower>> LoadFollower(const ModelOptions& options,
                                                       std::unique_ptr<PlanChannel> plans) {
  std::future<OpenedBackends> opening = OpenBackendsBeside(options);
  ASSIGN_OR_RETURN(CheckedModel model, Check(options));
  Follower::Parts parts;
  ASSIGN_OR_RETURN(parts.devices, BackendsFor(options, model, opening.get()));
  const parallel::GroupPlace& place = *options.group;
  const parallel::Greeting greeting = GreetingOf(options, model, parts.devices);
  ASSIGN_OR_RETURN(parallel::Joined joined, parallel::Join(place, greeting, IsCpu(parts.devices)));
  parts.plans = std::make_unique<FollowedPlans>(std::move(joined.control), place.first_rank,
                                                place.num_ranks, std::move(plans));
  ASSIGN_OR_RETURN(const parallel::CommunicatorId id, ReadId(joined.word));
  ASSIGN_OR_RETURN(parts.devices.communicators,
                   OpenInGroup(options, model, parts.devices, id, std::move(joined.sums)));
  ASSIGN_OR_RETURN(const std::int32_t own, ChooseOwnBlocks(options, parts.devices, model));
  ASSIGN_OR_RETURN(model.limits.num_blocks, parts.plans->AgreeOnBlocks(own));
  parts.fingerprint = greeting.fingerprint;
  parts.device = parts.devices.backends.front()->capabilities().name;
  parts.ranks = {.plan = std::move(model.plan), .limits = model.limits, .stamp_steps = false};
  return std::make_unique<Follower>(std::move(parts), *model.weights);
}

}  // namespace thinkwire::worker::model
