#include "tests/bench/serve_workload.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "common/rpc/request_checks.h"

namespace thinkwire::bench {
namespace {

ServeOptions Parse(const std::vector<const char*>& arguments) {
  const auto options = ParseServeOptions(arguments);
  EXPECT_TRUE(options.ok()) << options.status();
  return options.ok() ? *options : ServeOptions();
}

TEST(WorkloadTest, ARequestDependsOnSeedAndIndexAlone) {
  const std::vector<const char*> arguments = {"--max_tokens=uniform:1,99", "--seed=3"};
  const ServeOptions options = Parse(arguments);
  const Workload one(options, "m");
  const Workload other(options, "m");
  const ServeOptions reseeded = Parse({"--max_tokens=uniform:1,99", "--seed=4"});
  std::set<std::uint64_t> seeds;
  for (std::int64_t i = 19; i >= 0; --i) {
    const v1::GenerateRequest request = one.Plan(i).request;
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(request, other.Plan(i).request));
    seeds.insert(request.seed());
    seeds.insert(Workload(reseeded, "m").Plan(i).request.seed());
  }
  EXPECT_EQ(seeds.size(), 40U);
}

TEST(WorkloadTest, PromptsOfTokenIdsHaveTheWantedLengthAndNothingElseIsSet) {
  const ServeOptions options = Parse({"--prompt_tokens=37", "--max_tokens=5", "--ignore_eos"});
  const PlannedRequest plan = Workload(options, "qwen-7b").Plan(0);
  EXPECT_EQ(plan.request.variant(), "qwen-7b");
  EXPECT_EQ(plan.request.prompt().token_ids().ids_size(), 37);
  for (const std::int32_t id : plan.request.prompt().token_ids().ids()) {
    EXPECT_GE(id, 0);
    EXPECT_LT(id, 256);
  }
  EXPECT_EQ(plan.request.max_tokens(), 5);
  EXPECT_TRUE(plan.request.ignore_eos());
  EXPECT_FALSE(plan.request.has_reasoning_sampling());
  EXPECT_TRUE(rpc::CheckRequest(plan.request).ok());
}

TEST(WorkloadTest, QuestionsAreOfManyKinds) {
  const ServeOptions options = Parse({"--temperature=0.25"});
  const Workload workload(options, "");
  std::set<std::string> questions;
  for (std::int64_t i = 0; i < 50; ++i) {
    const v1::GenerateRequest request = workload.Plan(i).request;
    ASSERT_EQ(request.prompt().chat().messages_size(), 1);
    questions.insert(request.prompt().chat().messages(0).content());
    EXPECT_EQ(request.reasoning_sampling().temperature(), 0.25F);
    EXPECT_EQ(request.answer_sampling().temperature(), 0.25F);
    EXPECT_TRUE(rpc::CheckRequest(request).ok());
  }
  EXPECT_GT(questions.size(), 40U);
}

TEST(WorkloadTest, SharesAreKeptAndWrongRequestsAreWrong) {
  const ServeOptions options =
      Parse({"--bad_share=0.3", "--cancel_share=0.5", "--cancel_after_tokens=uniform:2,4"});
  const Workload workload(options, "");
  int bad = 0;
  int refused_by_the_router = 0;
  int cancelled = 0;
  for (std::int64_t i = 0; i < 4000; ++i) {
    const PlannedRequest plan = workload.Plan(i);
    if (plan.bad) {
      ++bad;
      EXPECT_FALSE(plan.cancel_after_tokens.has_value());
      const absl::Status status = rpc::CheckRequest(plan.request);
      if (!status.ok()) ++refused_by_the_router;
      EXPECT_TRUE(absl::IsInvalidArgument(status) || plan.request.max_tokens() == INT32_MAX)
          << status;
    } else if (plan.cancel_after_tokens) {
      ++cancelled;
      EXPECT_GE(*plan.cancel_after_tokens, 2);
      EXPECT_LE(*plan.cancel_after_tokens, 4);
    }
  }
  EXPECT_NEAR(bad, 1200, 120);
  EXPECT_NEAR(refused_by_the_router, bad * 4 / 5, 100);
  EXPECT_NEAR(cancelled, 1400, 130);
}

}  // namespace
}  // namespace thinkwire::bench
