#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/checkpoint.h"
#include "worker/model/checkpoint/grouped_tensor.h"
#include "worker/model/checkpoint/kv_scales.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/nf4_tensor.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// The weights of a checkpoint: the tensors that the plan asks for, in BF16, F16 or F32, all finite.
// F16 and F32 are rounded to bf16 when the backend takes them. Matrices of modules that config.json
// says are quantised stay packed (grouped_tensor.h), and the plan gets to know their encoding;
// those of bitsandbytes become BF16 (nf4_tensor.h). Where config.json ties head and embedding, one
// of them stored is both; where both are stored and differ, they are not tied. That is what
// transformers does.
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

  // Finds the tensors of all quantised matrices, or of one.
  absl::Status FindGrouped(ModelPlan& plan);
  absl::Status FindGrouped(const ModelPlan& plan, const TensorSpec& spec);

  // Whether a tensor of the plan consists of others than its own.
  bool IsQuantized(const std::string& weight) const {
    return grouped_.contains(weight) || in_nf4_.contains(weight);
  }

  // What a tensor of the plan consists of; one null if it is not there.
  std::vector<const CheckpointTensor*> StoredOf(const TensorSpec& spec) const;

  // Tells the plan what scales of an FP8 KV cache the files hold.
  absl::Status ReadKvScales(ModelPlan& plan);

  // Settles which tensors embedding and head are.
  void Tie(ModelPlan& plan);

  // REQUIRES: each is there.
  absl::Status CheckForms(const std::vector<TensorSpec>& specs);

  absl::Status WarnOfUnused(const std::vector<TensorSpec>& specs, ModelPlan& plan) const;

  // Whether it is what some quantisers write where there is no bias: zeros.
  absl::StatusOr<bool> IsNoBias(const CheckpointTensor& tensor) const;

  // Tells the plan how quantised matrices are packed and ordered.
  absl::Status SetForms(ModelPlan& plan) const;
  absl::Status CheckOneOrder(const PlannedWeight& weight) const;

  // Reads the tensors, whose form is right: into the identity, or refuses one.
  absl::Status AdmitAll(const std::vector<TensorSpec>& specs);

  const Checkpoint checkpoint_;
  std::map<std::string, GroupedTensor> grouped_;  // by the name of the plan's weight
  std::map<std::string, Nf4Tensor> in_nf4_;       // likewise
  StoredKvScales kv_scales_;
  bool embedding_is_head_ = false;  // the embedding is stored by the head's name
  std::uint64_t identity_ = 0;
  std::string stored_as_;
};

}  // namespace thinkwire::worker::model
