#include "worker/hub/model_contents.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace thinkwire::worker::hub {
namespace {

using Names = std::vector<std::string>;

TEST(SmallFiles, LeavesOutWhatAWorkerDoesNotRead) {
  EXPECT_EQ(SmallFiles({".gitattributes", "LICENSE", "README.md", "config.json", "figures/a.png",
                        "generation_config.json", "model-00001-of-00002.safetensors",
                        "model.safetensors.index.json", "original/tokenizer.json",
                        "pytorch_model.bin", "tokenizer.json", "tokenizer_config.json"}),
            (Names{"config.json", "generation_config.json", "model.safetensors.index.json",
                   "tokenizer.json", "tokenizer_config.json"}));
}

TEST(IsSafePath, RefusesWhatLeadsOutOfAFolder) {
  EXPECT_TRUE(IsSafePath("model-00001-of-00002.safetensors"));
  EXPECT_TRUE(IsSafePath("deep/er/x"));
  for (const char* path :
       {"", "/etc/passwd", "..", "../x", "a/../x", "./x", "a\\b", "a\nb", "a/"}) {
    EXPECT_FALSE(IsSafePath(path)) << path;
  }
  EXPECT_FALSE(IsSafePath(std::string(201, 'a')));
}

class WeightFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  void Write(const std::string& index) { std::ofstream(folder_ / kIndexFile) << index; }
  std::string Error() {
    const auto files = WeightFiles(folder_);
    EXPECT_EQ(files.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(files.status().message());
  }

  const std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("weight-files-" + std::to_string(getpid()));
};

TEST_F(WeightFilesTest, AreThoseOfTheIndexOrTheOne) {
  EXPECT_EQ(*WeightFiles(folder_), Names{"model.safetensors"});
  Write(R"({"metadata": {}, "weight_map": {"a": "y.safetensors", "b": "x.safetensors",
            "c": "y.safetensors"}})");
  EXPECT_EQ(*WeightFiles(folder_), (Names{"x.safetensors", "y.safetensors"}));
}

TEST_F(WeightFilesTest, RefuseAnIndexThatNamesFilesElsewhere) {
  Write(R"({"weight_map": {"a": "../../x"}})");
  EXPECT_NE(Error().find("weight_map names '../../x', which may be no path here"),
            std::string::npos);
  Write(R"({"weight_map": {"a": 1}})");
  EXPECT_NE(Error().find("weight_map names a file by no text"), std::string::npos);
  Write(R"({"weight_map": {}})");
  EXPECT_NE(Error().find("has no weight_map"), std::string::npos);
  Write("[]");
  EXPECT_NE(Error().find("has no weight_map"), std::string::npos);
}

}  // namespace
}  // namespace thinkwire::worker::hub
