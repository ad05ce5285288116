#include "tests/bench/serve_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace thinkwire::bench {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::string ErrorOf(const std::vector<const char*>& arguments) {
  return std::string(ParseServeOptions(arguments).status().message());
}

TEST(ServeOptionsTest, WithoutAnyItAsksTheBundledModelAHundredQuestions) {
  const auto options = ParseServeOptions({});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->concurrency, 16);
  EXPECT_EQ(options->requests, 100);
  EXPECT_FALSE(options->prompt_tokens.has_value());
  EXPECT_TRUE(options->max_tokens.has_value());
}

TEST(ServeOptionsTest, ATimeLimitAloneLeavesTheNumberOpen) {
  const std::vector<const char*> timed = {"--duration_s=5", "--pids=7,8"};
  const auto options = ParseServeOptions(timed);
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->requests, INT32_MAX);
  EXPECT_THAT(options->pids, ElementsAre(7, 8));
  const std::vector<const char*> both = {"--duration_s=5", "--requests=9"};
  EXPECT_EQ(ParseServeOptions(both)->requests, 9);
}

TEST(ServeOptionsTest, SaysWhatIsWrong) {
  EXPECT_THAT(ErrorOf({"--rate=5", "--concurrency=4"}), HasSubstr("--rate is the open loop"));
  EXPECT_THAT(ErrorOf({"--rate=5", "--in_waves"}), HasSubstr("--rate is the open loop"));
  EXPECT_EQ(ErrorOf({"--rate=0"}), "--rate is 0; allowed: 0.001 to 100000");
  EXPECT_EQ(ErrorOf({"--concurrency=0"}), "--concurrency is 0; allowed: 1 to 100000");
  EXPECT_EQ(ErrorOf({"--bad_share=1.5"}), "--bad_share is 1.5; allowed: 0 to 1");
  EXPECT_THAT(ErrorOf({"--cancel_share=nan"}), HasSubstr("--cancel_share"));
  EXPECT_EQ(ErrorOf({"--requests=5", "--warmup_requests=5"}),
            "--warmup_requests=5 leaves nothing of --requests=5");
  EXPECT_THAT(ErrorOf({"--in_waves", "--concurrency=4", "--warmup_requests=6"}),
              HasSubstr("must be a multiple of --concurrency"));
  EXPECT_THAT(ErrorOf({"--max_tokens=0"}), HasSubstr("--max_tokens: '0' is not"));
  EXPECT_THAT(ErrorOf({"--pids=1,x"}), HasSubstr("'x' is no process id"));
  EXPECT_THAT(ErrorOf({"extra"}), HasSubstr("'extra' is no option"));
}

}  // namespace
}  // namespace thinkwire::bench
