#include "tests/bench/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "worker/model/checkpoint/model_config.h"
#include "worker/text/tokenizer.h"

namespace thinkwire::bench {
namespace {

using worker::text::Tokenizer;

constexpr char kTokenizer[] = "deploy/models/tiny-r1";

class ModelFolderTest : public testing::Test {
 protected:
  ModelFolderTest()
      : folder_(std::filesystem::path(testing::TempDir()) /
                ("folder-" + std::to_string(getpid()))) {}
  ~ModelFolderTest() override { std::filesystem::remove_all(folder_); }

  const std::filesystem::path folder_;
};

TEST_F(ModelFolderTest, ADistillHasAWholeVocabularyAndTheTokenizersOwnIds) {
  const auto original = Tokenizer::Load(kTokenizer);
  ASSERT_TRUE(original.ok()) << original.status();
  for (const std::string name : {"qwen-7b", "llama-8b"}) {
    const absl::Status status = WriteModelFolder(name, kTokenizer, folder_);
    ASSERT_TRUE(status.ok()) << status;
    const auto config = worker::model::LoadModelConfig(folder_);
    ASSERT_TRUE(config.ok()) << config.status();
    const auto tokenizer = Tokenizer::Load(folder_);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ((*tokenizer)->num_ids(), config->vocab_size) << name;
    for (const char* text : {"What is 27+48?", "<think>\nSo: 二十</think>"}) {
      EXPECT_EQ((*tokenizer)->Encode(text), (*original)->Encode(text));
    }
    EXPECT_EQ((*tokenizer)->eos_id(), (*original)->eos_id());
  }
}

TEST_F(ModelFolderTest, SaysWhatIsMissing) {
  EXPECT_EQ(WriteModelFolder("qwen-8b", kTokenizer, folder_).message(),
            "there is no model 'qwen-8b'; there are qwen-1.5b, qwen-7b, llama-8b, qwen-14b, "
            "qwen-32b, llama-70b, r1-671b");
  EXPECT_EQ(WriteModelFolder("qwen-7b", "/nowhere", folder_).message(),
            "/nowhere/tokenizer.json: no such file");
  std::ofstream(folder_ / "tokenizer.json") << R"({"model": {"vocab": 3}})";
  EXPECT_THAT(WriteModelFolder("qwen-7b", folder_, folder_).message(),
              testing::HasSubstr("tokenizer.json is no tokenizer: "));
}

}  // namespace
}  // namespace thinkwire::bench
