#include "worker/model/describe_model.h"

#include <string>
#include <utility>

#include "absl/strings/str_split.h"
#include "worker/model/checkpoint/fingerprint.h"
#include "worker/model/layers/kv_cache.h"
#include "worker/model/layers/rank_shape.h"

namespace thinkwire::worker::model {
namespace {

std::string KvDtypeOf(const ModelPlan& plan, kernels::DType activation) {
  if (plan.kv_cache.is_fp8) return "fp8_e4m3";
  return activation == kernels::DType::kF32 ? "f32" : "bf16";
}

}  // namespace

ModelInfo Describe(const ModelPlan& plan, const step::Limits& limits, const WeightSource& source,
                   const kernels::Capabilities& device, std::int32_t ranks) {
  ModelInfo info;
  info.architecture = plan.config.architecture;
  info.end_of_sequence_ids = plan.config.end_of_sequence_ids;
  info.warnings = plan.config.warnings;
  info.parameters = CountParameters(plan);
  info.kv_cache_tokens = static_cast<std::int64_t>(limits.num_blocks) * limits.block_tokens;
  const KvLayout kv =
      KvLayoutOf(plan, ShapeOfRank(plan, 0, ranks), limits.block_tokens, device.activation);
  info.kv_cache_bytes = kv.block_bytes() * limits.num_blocks * ranks;
  info.kv_cache_dtype = KvDtypeOf(plan, device.activation);
  info.device = device.name;
  info.stored_weights = source.stored_as();
  const std::string architecture(
      std::pair<std::string, std::string>(absl::StrSplit(device.name, absl::MaxSplits(' ', 1)))
          .first);
  const bool is_cpu = device.kind == kernels::DeviceKind::kCpu;
  info.fingerprint =
      Fingerprint(plan, source, is_cpu ? NumSummands(plan, ranks) : ranks, architecture);
  return info;
}

}  // namespace thinkwire::worker::model
