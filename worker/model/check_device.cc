#include "worker/model/check_device.h"

#include <cstddef>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace thinkwire::worker::model {

absl::Status CheckColumns(const kernels::Capabilities& device, const ModelPlan& plan,
                          std::int32_t ranks) {
  if (device.kind == kernels::DeviceKind::kCpu) return absl::OkStatus();
  constexpr std::int64_t kColumns = 8;
  for (const Division division : {Division::kFfn, Division::kSharedFfn}) {
    const Divided& divided = plan.divided[static_cast<std::size_t>(division)];
    const std::int64_t of_rank = divided.count / ranks * divided.unit;
    if (divided.rule == DivisionRule::kWhole || of_rank % kColumns == 0) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "tensor_parallel_size ", ranks, " leaves ", of_rank, " of ", divided.description,
        " to a rank; ", device.name, " takes them in ", kColumns, "s"));
  }
  return absl::OkStatus();
}

absl::Status CheckDeviceOps(const kernels::Capabilities& device, const ModelPlan& plan) {
  if (device.kind == kernels::DeviceKind::kCpu) return absl::OkStatus();
  std::string what = NeedsCpu(plan);
  if (what.empty() && plan.config.mla && !device.attends_to_latents) what = "latents";
  if (what.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(what, " are not supported on ", device.name,
                                                 "; these are computed with device cpu"));
}

absl::Status CheckDevice(const kernels::Capabilities& device, const ModelPlan& plan,
                         std::int32_t ranks) {
  RETURN_IF_ERROR(CheckDeviceOps(device, plan));
  return CheckColumns(device, plan, ranks);
}

}  // namespace thinkwire::worker::model
