#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/model/checkpoint/gguf_shards.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// A tensor of the files, or one of several that lie in it.
struct GgufStored {
  std::string name;
  GgufShardTensor found;                 // null if there is none
  std::vector<std::int64_t> shape = {};  // that the tensor must have
  std::int64_t part = 0;                 // this one's number
  std::int64_t parts = 1;                // of equal size

  // REQUIRES: it is there, and of that shape.
  std::span<const std::byte> bytes() const {
    const std::size_t size = found.tensor->bytes.size() / static_cast<std::size_t>(parts);
    return found.tensor->bytes.subspan(static_cast<std::size_t>(part) * size, size);
  }
};

// The weights of a GGUF model: the tensors that the plan asks for, by llama.cpp's names. Vectors
// are F32, F16 or BF16, matrices those or packed (kernels/weights.h), all finite. A packed matrix
// goes to the device as it is stored, and the plan says so; the others become bf16 there.
// Rows that llama.cpp's converter has reordered come out in their own order; a deepseek2's
// attn_k_b and attn_v_b as the kv_b_proj that they are made of, in bf16.
class GgufWeights final : public WeightSource {
 public:
  // Checks every tensor, reads each byte once, and sets the encodings of the plan's matrices. Adds
  // to the plan's warnings what the files hold that is not used.
  // Fails: INVALID_ARGUMENT, naming file and tensor; also for a layer's tensor without a use, as
  // the model would compute something else.
  static absl::StatusOr<std::unique_ptr<GgufWeights>> Open(std::shared_ptr<const GgufShards> shards,
                                                           ModelPlan& plan);

  HostSlice Slice(const TensorSpec& spec, const Region& region) const override;
  std::uint64_t identity() const override { return identity_; }
  std::string stored_as() const override { return stored_as_; }

 private:
  GgufWeights(std::shared_ptr<const GgufShards> shards, const ModelPlan& plan)
      : shards_(std::move(shards)), config_(plan.config) {}

  // What a tensor of the plan is stored as: one, or keys and values.
  std::vector<GgufStored> StoredOf(const TensorSpec& spec) const;
  // Whether the files have it as keys and values.
  bool IsParted(const TensorSpec& spec) const;
  // Whether a tensor is of a layer that predicts further tokens.
  bool IsOfFurtherLayer(absl::string_view name) const;

  absl::Status CheckForms(const std::vector<TensorSpec>& specs);
  absl::Status CheckUnused(const std::vector<TensorSpec>& specs, ModelPlan& plan) const;
  // Reads the tensors, whose form is right: into the identity, or refuses one.
  absl::Status AdmitAll(const std::vector<TensorSpec>& specs);
  void SetEncodings(ModelPlan& plan) const;

  const std::shared_ptr<const GgufShards> shards_;
  const ModelConfig config_;
  std::uint64_t identity_ = 0;
  std::string stored_as_;
};

}  // namespace thinkwire::worker::model
