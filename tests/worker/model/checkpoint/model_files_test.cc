#include "worker/model/checkpoint/model_files.h"

#include <gtest/gtest.h>

#include <memory>

#include "tests/worker/model/model_files.h"

namespace thinkwire::worker::model {
namespace {

TEST(ModelFilesTest, AFolderAnswersForItsFiles) {
  const auto files = OpenModelFiles(ModelDir("qwen2"));
  const auto config = files->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->architecture, "Qwen2ForCausalLM");
  EXPECT_EQ(files->TokenizerPath(), ModelDir("qwen2"));
  ModelPlan plan = MakePlan(*config);
  const auto weights = files->Weights(plan);
  ASSERT_TRUE(weights.ok()) << weights.status();
  EXPECT_EQ((*weights)->stored_as(), "BF16");
}

TEST(ModelFilesTest, AConfigurationNeedsNoWeights) {
  const TempDir dir;
  WriteFile(dir.path() / "config.json", ReadFile(ModelDir("llama") / "config.json"));
  const auto files = OpenModelFiles(dir.path());
  const auto config = files->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  ModelPlan plan = MakePlan(*config);
  EXPECT_EQ(files->Weights(plan).status().code(), absl::StatusCode::kNotFound);
}

TEST(ModelFilesTest, WhatIsNotThereFailsWhenItIsAskedFor) {
  const auto files = OpenModelFiles("/nowhere");
  EXPECT_EQ(files->Config().status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace thinkwire::worker::model
