#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "worker/model/checkpoint/model_config.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"

namespace thinkwire::worker::model {

// What one model is kept in, whatever its form: who loads a model asks here and knows no file name.
// Today that is a folder as Hugging Face lays it out; a form that keeps all of it in one file is
// another class behind OpenModelFiles.
// Threads: any. Files are read by the call that asks for what is in them, so that a configuration
// can be had where there are no weights.
class ModelFiles {
 public:
  virtual ~ModelFiles() = default;

  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file, key and value.
  virtual absl::StatusOr<ModelConfig> Config() const = 0;

  // The folder with the tokenizer's files, which worker/text reads.
  virtual std::filesystem::path TokenizerFolder() const = 0;

  // Checks every tensor of the plan and reads it once. The source does not need this object.
  // Fails: NOT_FOUND or INVALID_ARGUMENT, naming file and tensor.
  virtual absl::StatusOr<std::unique_ptr<WeightSource>> Weights(const ModelPlan& plan) const = 0;
};

// Chooses the form by what `path` is. Reads nothing.
std::unique_ptr<ModelFiles> OpenModelFiles(const std::filesystem::path& path);

}  // namespace thinkwire::worker::model
