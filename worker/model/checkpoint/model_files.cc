#include "worker/model/checkpoint/model_files.h"

#include <utility>

#include "common/gguf_file.h"
#include "common/status.h"
#include "worker/model/checkpoint/checkpoint_weights.h"
#include "worker/model/checkpoint/gguf_config.h"
#include "worker/model/checkpoint/gguf_shards.h"
#include "worker/model/checkpoint/gguf_weights.h"

namespace thinkwire::worker::model {
namespace {

// config.json, generation_config.json, tokenizer.json and safetensors side by side.
class FolderFiles final : public ModelFiles {
 public:
  explicit FolderFiles(std::filesystem::path folder) : folder_(std::move(folder)) {}

  absl::StatusOr<ModelConfig> Config() const override { return LoadModelConfig(folder_); }

  absl::StatusOr<SamplingDefaults> DefaultSampling() const override {
    return LoadSamplingDefaults(folder_);
  }

  std::filesystem::path TokenizerPath() const override { return folder_; }

  absl::StatusOr<std::unique_ptr<WeightSource>> Weights(ModelPlan& plan) const override {
    ASSIGN_OR_RETURN(auto weights, CheckpointWeights::Open(folder_, plan));
    return weights;
  }

 private:
  const std::filesystem::path folder_;
};

// All of a model in a GGUF file, or in several that it was split into. They are mapped anew for
// each question, which costs the reading of their header.
class GgufFiles final : public ModelFiles {
 public:
  explicit GgufFiles(std::filesystem::path first) : first_(std::move(first)) {}

  absl::StatusOr<ModelConfig> Config() const override {
    ASSIGN_OR_RETURN(const GgufShards shards, GgufShards::Open(first_));
    return ReadGgufConfig(shards);
  }

  absl::StatusOr<SamplingDefaults> DefaultSampling() const override {
    ASSIGN_OR_RETURN(const GgufShards shards, GgufShards::Open(first_));
    return ReadGgufSampling(shards);
  }

  std::filesystem::path TokenizerPath() const override { return first_; }

  absl::StatusOr<std::unique_ptr<WeightSource>> Weights(ModelPlan& plan) const override {
    ASSIGN_OR_RETURN(GgufShards shards, GgufShards::Open(first_));
    ASSIGN_OR_RETURN(auto weights,
                     GgufWeights::Open(std::make_shared<GgufShards>(std::move(shards)), plan));
    return weights;
  }

 private:
  const std::filesystem::path first_;
};

}  // namespace

std::unique_ptr<ModelFiles> OpenModelFiles(const std::filesystem::path& path) {
  if (IsGgufPath(path)) return std::make_unique<GgufFiles>(path);
  return std::make_unique<FolderFiles>(path);
}

}  // namespace thinkwire::worker::model
