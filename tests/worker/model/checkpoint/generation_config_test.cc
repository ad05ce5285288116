#include "worker/model/checkpoint/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "tests/worker/model/model_files.h"

namespace thinkwire::worker::model {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

absl::StatusOr<SamplingDefaults> Load(const json& generation) {
  const TempDir dir;
  WriteFile(dir.path() / "generation_config.json", generation.dump());
  return LoadSamplingDefaults(dir.path());
}

TEST(LoadSamplingDefaultsTest, WithoutTheFileOrItsKeysThereAreNone) {
  const TempDir empty;
  for (const auto& sampling : {LoadSamplingDefaults(empty.path()), Load(json::object()),
                               Load({{"temperature", nullptr}})}) {
    ASSERT_TRUE(sampling.ok()) << sampling.status();
    EXPECT_EQ(sampling->temperature, std::nullopt);
    EXPECT_EQ(sampling->top_p, std::nullopt);
    EXPECT_EQ(sampling->top_k, std::nullopt);
    EXPECT_EQ(sampling->min_p, std::nullopt);
    EXPECT_EQ(sampling->repetition_penalty, std::nullopt);
  }
}

TEST(LoadSamplingDefaultsTest, EachKeyThatIsThereIsObeyed) {
  const auto sampling = Load({{"do_sample", true},
                              {"temperature", 1.5},
                              {"top_p", 0.5},
                              {"top_k", 50},
                              {"min_p", 0.1},
                              {"repetition_penalty", 1.05},
                              {"max_new_tokens", 7}});
  ASSERT_TRUE(sampling.ok()) << sampling.status();
  EXPECT_EQ(sampling->temperature, 1.5F);
  EXPECT_EQ(sampling->top_p, 0.5F);
  EXPECT_EQ(sampling->top_k, 50);
  EXPECT_EQ(sampling->min_p, 0.1F);
  EXPECT_EQ(sampling->repetition_penalty, 1.05F);
}

TEST(LoadSamplingDefaultsTest, WhoDoesNotSampleTakesTheMostProbable) {
  EXPECT_EQ(Load({{"do_sample", false}})->temperature, 0.0F);
  EXPECT_EQ(Load({{"do_sample", false}, {"temperature", 0.6}})->temperature, 0.0F);
}

TEST(LoadSamplingDefaultsTest, RefusesByNameWhatNoRequestMayAskFor) {
  for (const auto& [key, value] :
       std::vector<std::pair<const char*, json>>{{"temperature", 2.5},
                                                 {"temperature", "hot"},
                                                 {"top_p", 0},
                                                 {"top_k", -1},
                                                 {"min_p", 2},
                                                 {"repetition_penalty", 0},
                                                 {"do_sample", 1}}) {
    const auto sampling = Load({{key, value}});
    EXPECT_THAT(std::string(sampling.status().message()),
                AllOf(HasSubstr("generation_config.json"), HasSubstr(key)));
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
