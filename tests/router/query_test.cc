#include "router/query.h"

#include <gtest/gtest.h>

namespace thinkwire::router {
namespace {

TEST(MakeTask, EveryTaskHasAWordInTheContract) {
  for (const Task task : kAllTasks) EXPECT_EQ(ReadTask(MakeTask(task)), task);
  EXPECT_FALSE(ReadTask(v1::TASK_UNSPECIFIED).has_value());
}

TEST(MakeQuery, SaysWhatTheRequestAsksFor) {
  v1::GenerateRequest request;
  request.set_variant("qwen-7b");
  request.mutable_wishes()->set_task(v1::TASK_CODE);
  for (const char* text : {"1+1?", "2", "Why?"}) {
    request.mutable_prompt()->mutable_chat()->add_messages()->set_content(text);
  }
  const decision::Query query = MakeQuery(request);
  EXPECT_EQ(query.variant, "qwen-7b");
  EXPECT_EQ(query.task, Task::kCode);
  EXPECT_EQ(query.prompt_bytes, 9U);
}

TEST(MakeQuery, CountsTheOutputsAndThoseThatVote) {
  v1::GenerateRequest request;
  EXPECT_EQ(MakeQuery(request).outputs, 1);
  request.set_n(3);
  EXPECT_EQ(MakeQuery(request).outputs, 3);
  request.clear_n();
  request.mutable_consensus()->set_max_samples(5);
  EXPECT_EQ(MakeQuery(request).outputs, 5);
}

TEST(MakeQuery, EstimatesTheTaskOfTheLastMessageWhereNoneIsSaid) {
  v1::GenerateRequest request;
  auto& messages = *request.mutable_prompt()->mutable_chat()->mutable_messages();
  messages.Add()->set_content("Write a poem about integers.");
  messages.Add()->set_content("Why does my python script crash?");
  EXPECT_FALSE(MakeQuery(request).task.has_value());
  EXPECT_EQ(MakeQuery(request).estimated_task, Task::kCode);
}

TEST(MakeQuery, TellsOfWishesLimitsAndThinking) {
  v1::GenerateRequest request;
  EXPECT_TRUE(MakeQuery(request).thinks);
  EXPECT_FALSE(MakeQuery(request).max_tokens.has_value());
  EXPECT_FALSE(MakeQuery(request).wishes.asks_quality);
  request.mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  request.set_max_tokens(7);
  request.mutable_wishes()->set_quality(0);
  request.mutable_wishes()->set_max_cost(2);
  request.mutable_wishes()->set_may_substitute(true);
  request.mutable_wishes()->mutable_latency()->set_seconds(3);
  const decision::Query query = MakeQuery(request);
  EXPECT_FALSE(query.thinks);
  EXPECT_EQ(query.max_tokens, 7);
  EXPECT_TRUE(query.wishes.asks_quality);
  EXPECT_EQ(query.wishes.max_cost, 2);
  EXPECT_EQ(query.wishes.latency_s, 3);
  EXPECT_TRUE(query.wishes.may_substitute);
}

TEST(MakeQuery, CountsTheOutputsThatAreStillToBeMade) {
  v1::GenerateRequest request;
  EXPECT_EQ(MakeQuery(request).outputs, 1);
  request.set_n(3);
  EXPECT_EQ(MakeQuery(request).outputs, 3);
  request.mutable_resume()->add_outputs()->set_finished(true);
  request.mutable_resume()->add_outputs();
  EXPECT_EQ(MakeQuery(request).outputs, 2);
  for (int i = 0; i < 2; ++i) request.mutable_resume()->add_outputs()->set_finished(true);
  EXPECT_EQ(MakeQuery(request).outputs, 1);
  v1::GenerateRequest vote;
  vote.mutable_consensus()->set_max_samples(5);
  EXPECT_EQ(MakeQuery(vote).outputs, 5);
}

TEST(MakeQuery, WhoThinksAsLongAsTheDeadlineAllowsHurries) {
  v1::GenerateRequest request;
  EXPECT_FALSE(MakeQuery(request).hurries);
  request.mutable_thinking()->set_budget_from_deadline(true);
  EXPECT_TRUE(MakeQuery(request).hurries);
}

TEST(MakeQuery, NobodyStandsInForTheVariantOfAnEarlierStream) {
  v1::GenerateRequest request;
  request.set_variant("qwen-7b");
  request.mutable_wishes()->set_may_substitute(true);
  request.mutable_resume()->set_prompt_tokens(3);
  EXPECT_FALSE(MakeQuery(request).wishes.may_substitute);
}

TEST(MakeQuery, ACountIsDecidedAsItsGenerateWouldBe) {
  v1::CountTokensRequest request;
  request.mutable_prompt()->set_text("abc");
  const decision::Query query = MakeQuery(request);
  EXPECT_EQ(query.variant, "");
  EXPECT_FALSE(query.task.has_value());
  EXPECT_EQ(query.prompt_bytes, 3U);
}

}  // namespace
}  // namespace thinkwire::router
