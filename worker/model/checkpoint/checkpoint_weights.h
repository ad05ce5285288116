#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/checkpoint.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// The weights of a checkpoint: exactly the tensors that the plan asks for, in BF16, F16 or F32,
// all finite. F16 and F32 are rounded to bf16 when the backend takes them.
class CheckpointWeights final : public WeightSource {
 public:
  // Checks every tensor; reads each byte once, for what is not finite and for the identity.
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file and tensor.
  static absl::StatusOr<std::unique_ptr<CheckpointWeights>> Open(const std::filesystem::path& dir,
                                                                 const ModelPlan& plan);

  HostSlice Slice(const TensorSpec& spec, const Region& region) const override;
  std::uint64_t identity() const override { return identity_; }
  std::string stored_as() const override { return stored_as_; }

 private:
  explicit CheckpointWeights(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

  // Reads the tensors, whose form is right: into the identity, or refuses one.
  absl::Status AdmitAll(const std::vector<TensorSpec>& specs);

  const Checkpoint checkpoint_;
  std::uint64_t identity_ = 0;
  std::string stored_as_;
};

}  // namespace thinkwire::worker::model
