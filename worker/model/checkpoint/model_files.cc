#include "worker/model/checkpoint/model_files.h"

#include <utility>

#include "common/status.h"
#include "worker/model/checkpoint/checkpoint_weights.h"

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

  std::filesystem::path TokenizerFolder() const override { return folder_; }

  absl::StatusOr<std::unique_ptr<WeightSource>> Weights(ModelPlan& plan) const override {
    ASSIGN_OR_RETURN(auto weights, CheckpointWeights::Open(folder_, plan));
    return weights;
  }

 private:
  const std::filesystem::path folder_;
};

}  // namespace

std::unique_ptr<ModelFiles> OpenModelFiles(const std::filesystem::path& path) {
  return std::make_unique<FolderFiles>(path);
}

}  // namespace thinkwire::worker::model
