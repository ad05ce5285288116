#include "worker/model/checkpoint/model_folder.h"

#include <gtest/gtest.h>

namespace thinkwire::worker::model {
namespace {

TEST(CheckModelFolder, TellsHowAnIdIsDownloaded) {
  EXPECT_EQ(CheckModelFolder("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B").message(),
            "--model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B: there is no such folder; if it is "
            "an id of Hugging Face, `hf download deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B "
            "--local-dir models/DeepSeek-R1-Distill-Qwen-1.5B` downloads it, for --model "
            "models/DeepSeek-R1-Distill-Qwen-1.5B");
  for (const char* model : {"deploy/models", "./nothing", "/no/folder", "no/such/folder", "name"}) {
    EXPECT_TRUE(CheckModelFolder(model).ok()) << model;
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
