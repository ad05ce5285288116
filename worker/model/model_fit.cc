#include "worker/model/model_fit.h"

#include <algorithm>
#include <memory>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/input_limits.h"
#include "common/status.h"
#include "worker/model/check_device.h"
#include "worker/model/checkpoint/grouped_tensor.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/count_rank.h"
#include "worker/model/kv_cache_dtype.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_shape.h"
#include "worker/model/memory_budget.h"
#include "worker/model/step_defaults.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {
namespace {

constexpr double kGiga = 1e9;
constexpr double kMega = 1e6;
constexpr std::int32_t kBlockTokens = 16;

// How matrices will be packed, by config.json alone.
absl::Status SetEncodings(ModelPlan& plan) {
  if (!plan.config.quantization) return absl::OkStatus();
  absl::Status status;
  ForEachMatrix(plan, [&](PlannedTensor& matrix) {
    if (!status.ok()) return;
    const auto scheme =
        plan.config.quantization->SchemeOf(absl::StripSuffix(matrix.spec.name, ".weight"));
    status = scheme.status();
    if (scheme.ok() && *scheme) matrix.spec.encoding = EncodingOf(**scheme, matrix.spec.cols);
  });
  return status;
}

step::Limits LimitsFor(const ModelConfig& config, const kernels::Capabilities& device) {
  const StepDefaults defaults = StepDefaultsOf(device.kind);
  step::Limits limits;
  limits.max_num_seqs = defaults.max_num_seqs;
  limits.max_num_batched_tokens = defaults.max_num_batched_tokens;
  limits.max_model_len = static_cast<std::int32_t>(
      std::min<std::int64_t>(config.max_position_embeddings, kMaxModelLen));
  limits.block_tokens = kBlockTokens;
  limits.vocab_size = static_cast<std::int32_t>(config.vocab_size);
  return limits;
}

MemoryOffer OfferOf(const MemoryPlace& place, std::int32_t ranks) {
  const bool is_host = place.device.kind == kernels::DeviceKind::kCpu;
  return {.device_bytes = is_host ? 0 : place.free_bytes,
          .host_bytes = is_host ? place.free_bytes : place.host_bytes,
          .ranks = ranks,
          .device = place.device};
}

// What it takes on so many ranks; how much context there is room for is not said.
ModelFit Count(const ModelPlan& plan, const step::Limits& limits, const MemoryPlace& place,
               std::int32_t ranks) {
  const RankShape shape = ShapeOfRank(plan, 0, ranks);
  const std::int64_t block =
      KvLayoutOf(plan, shape, limits.block_tokens, place.device.activation).block_bytes();
  return {.ranks = ranks,
          .weight_bytes = ranks * CountRank(plan, shape, limits, place.device).weights,
          .host_embedding = plan.host_embedding,
          .kv_bytes_per_token = ranks * block / limits.block_tokens,
          .longest = limits.max_model_len};
}

}  // namespace

absl::StatusOr<ModelFit> FitOf(const std::filesystem::path& model, const MemoryPlace& place,
                               const std::string& kv_cache_dtype) {
  ASSIGN_OR_RETURN(const ModelConfig config, OpenModelFiles(model)->Config());
  ModelPlan plan = MakePlan(config);
  RETURN_IF_ERROR(CheckDeviceOps(place.device, plan));
  const std::int64_t head_dim = place.device.only_head_dim;
  if (head_dim != 0 && !config.mla && config.head_dim != head_dim) {
    return absl::InvalidArgumentError(
        absl::StrCat("head_dim is ", config.head_dim, "; supported: ", head_dim));
  }
  RETURN_IF_ERROR(SetEncodings(plan));
  ASSIGN_OR_RETURN(plan.kv_cache.is_fp8, KeepsFp8(kv_cache_dtype, config));
  step::Limits limits = LimitsFor(config, place.device);
  for (std::int32_t ranks = 1; ranks <= place.devices; ++ranks) {
    if (!CheckSplit(plan, ranks).ok() || !CheckColumns(place.device, plan, ranks).ok()) continue;
    const MemoryOffer offer = OfferOf(place, ranks);
    plan.host_embedding = NeedsHostEmbedding(plan, limits, offer);
    const auto blocks = ChooseBlocks(plan, limits, offer);
    if (!blocks.ok()) continue;
    ModelFit fit = Count(plan, limits, place, ranks);
    limits.num_blocks = *blocks;
    fit.context = limits.context();
    return fit;
  }
  plan.host_embedding = false;
  return Count(plan, limits, place, 1);
}

std::string FitText(const ModelFit& fit) {
  const std::string sizes =
      absl::StrFormat("weights %.1f GB%s, KV %.1f MB a thousand tokens",
                      static_cast<double>(fit.weight_bytes) / kGiga,
                      fit.host_embedding ? " without the embedding, which is in host memory" : "",
                      1000 * static_cast<double>(fit.kv_bytes_per_token) / kMega);
  if (fit.context == 0) return absl::StrCat(sizes, ": does not fit");
  const std::string of = fit.context < fit.longest ? absl::StrCat(" of ", fit.longest) : "";
  const std::string on =
      fit.ranks > 1 ? absl::StrCat(" with --tensor_parallel_size ", fit.ranks) : "";
  return absl::StrCat(sizes, ": fits, ", fit.context, of, " tokens of context", on);
}

}  // namespace thinkwire::worker::model
