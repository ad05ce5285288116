#include "worker/hub/model_name.h"

#include <gtest/gtest.h>

#include <string>

namespace thinkwire::worker::hub {
namespace {

std::string ErrorOf(std::string_view text) {
  const auto name = ParseModelName(text);
  EXPECT_EQ(name.status().code(), absl::StatusCode::kInvalidArgument) << text;
  return std::string(name.status().message());
}

TEST(ParseModelName, KnowsThePublishedModelsByEveryPlainName) {
  for (const char* text :
       {"qwen-7b", "Qwen-7B", "deepseek-r1:7b", "DeepSeek-R1:7B",
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek-ai/deepseek-r1-distill-qwen-7b"}) {
    const auto name = ParseModelName(text);
    ASSERT_TRUE(name.ok()) << name.status();
    EXPECT_EQ(*name, (ModelName{.repo = "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B",
                                .revision = "main",
                                .variant = "qwen-7b"}));
  }
}

TEST(ParseModelName, TakesAnyRepositoryAtAnyRevision) {
  const auto name = ParseModelName("My-Org/a_model.v2@refs/pr/1");
  ASSERT_TRUE(name.ok()) << name.status();
  EXPECT_EQ(*name, (ModelName{.repo = "My-Org/a_model.v2", .revision = "refs/pr/1"}));
  EXPECT_EQ(ParseModelName("qwen-7b@v1.0")->revision, "v1.0");
}

TEST(ParseModelName, RefusesTagsThatMeanNoRepository) {
  EXPECT_EQ(ErrorOf("deepseek-r1:8b"),
            "'deepseek-r1:8b' is no one model: this Ollama tag has meant different models over "
            "time; name the "
            "variant itself");
  EXPECT_NE(ErrorOf("deepseek-r1:7b-qwen-distill-q4_K_M").find("is a file of Ollama's"),
            std::string::npos);
  EXPECT_NE(ErrorOf("llama3:8b").find("is a file of Ollama's"), std::string::npos);
}

TEST(ParseModelName, RefusesWhatCouldLeaveTheCache) {
  for (const char* text : {"", "name", "../x", "a/..", "a/b/c", "/a", "a/", ".a/b", "a/b.",
                           "a--b/c", "a/b.git", "a b/c", "a/b\n"}) {
    EXPECT_NE(ErrorOf(text).find("is neither a folder or file here nor a model's name"),
              std::string::npos)
        << text;
  }
  EXPECT_FALSE(IsRepo(std::string(90, 'a') + "/" + std::string(10, 'b')));
  for (const char* text : {"a/b@", "a/b@..", "a/b@../x", "a/b@x/../y", "a/b@/x", "a/b@x/",
                           "a/b@x//y", "a/b@.x", "a/b@x/.y", "a/b@x y", "a/b@x@y"}) {
    EXPECT_NE(ErrorOf(text).find("behind '@' is no branch, tag or commit"), std::string::npos)
        << text;
  }
}

TEST(IsCommit, IsFortyHexadecimalDigits) {
  EXPECT_TRUE(IsCommit("0123456789abcdef0123456789abcdef01234567"));
  EXPECT_FALSE(IsCommit("0123456789abcdef0123456789abcdef0123456"));
  EXPECT_FALSE(IsCommit("0123456789ABCDEF0123456789abcdef01234567"));
  EXPECT_FALSE(IsCommit("main"));
}

}  // namespace
}  // namespace thinkwire::worker::hub
