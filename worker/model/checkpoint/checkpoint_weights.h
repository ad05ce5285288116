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

// The weights of a checkpoint: the tensors that the plan asks for, in BF16, F16 or F32, all finite.
// F16 and F32 are rounded to bf16 when the backend takes them.
// Where config.json ties head and embedding, one of them stored is both; where both are stored and
// differ, they are not tied. That is what transformers does.
class CheckpointWeights final : public WeightSource {
 public:
  // Checks every tensor; reads each byte once, for what is not finite and for the identity. Unties
  // the plan's head where the stored one is another. Tells in the plan's warnings what the files
  // hold that is not used.
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file and tensor.
  static absl::StatusOr<std::unique_ptr<CheckpointWeights>> Open(const std::filesystem::path& dir,
                                                                 ModelPlan& plan);

  HostSlice Slice(const TensorSpec& spec, const Region& region) const override;
  std::uint64_t identity() const override { return identity_; }
  std::string stored_as() const override { return stored_as_; }

 private:
  explicit CheckpointWeights(Checkpoint checkpoint) : checkpoint_(std::move(checkpoint)) {}

  // The tensor that `name` of the plan is stored as; null if there is none.
  const CheckpointTensor* Find(absl::string_view name) const;

  // Settles which tensors embedding and head are.
  void Tie(ModelPlan& plan);

  // REQUIRES: each is there.
  absl::Status CheckForms(const std::vector<TensorSpec>& specs);

  void WarnOfUnused(const std::vector<TensorSpec>& specs, ModelPlan& plan) const;

  // Reads the tensors, whose form is right: into the identity, or refuses one.
  absl::Status AdmitAll(const std::vector<TensorSpec>& specs);

  const Checkpoint checkpoint_;
  bool embedding_is_head_ = false;  // the embedding is stored by the head's name
  std::uint64_t identity_ = 0;
  std::string stored_as_;
};

}  // namespace thinkwire::worker::model
