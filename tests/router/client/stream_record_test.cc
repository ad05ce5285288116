#include "router/client/stream_record.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/fakes/fake_worker.h"

namespace thinkwire::router::client {
namespace {

v1::GenerateRequest Question() {
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text("1+1?");
  request.mutable_wishes()->set_quality(0.5);
  return request;
}

// A small stream as a router passes it on.
std::vector<v1::GenerateResponse> Events() {
  std::vector<v1::GenerateResponse> events = SmallStream();
  events[1].mutable_started()->set_variant("qwen-7b");
  events[1].mutable_started()->set_worker("a:1");
  events[1].mutable_started()->set_seed(7);
  return events;
}

TEST(StreamRecordTest, BeforeItHasStartedTheSameIsAsked) {
  StreamRecord record(Question());
  EXPECT_TRUE(record.Add(Events()[0]).has_value());
  EXPECT_EQ(record.NextRequest().SerializeAsString(), Question().SerializeAsString());
}

TEST(StreamRecordTest, ThenWhatIsLeftIsAskedAsItWasTold) {
  StreamRecord record(Question());
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(record.Add(Events()[i]).has_value());
  const v1::GenerateRequest request = record.NextRequest();
  EXPECT_EQ(request.prompt().text(), "1+1?");
  EXPECT_EQ(request.variant(), "qwen-7b");
  EXPECT_FALSE(request.has_wishes());
  EXPECT_EQ(request.seed(), 7U);
  EXPECT_EQ(request.max_tokens(), 1000);
  EXPECT_EQ(request.resume().prompt_tokens(), 3);
  EXPECT_EQ(request.resume().fingerprint(), "fake");
  EXPECT_EQ(request.resume().outputs(0).token_ids_size(), 4);
  EXPECT_EQ(request.resume().outputs(0).answer_text_bytes(), 1);
}

TEST(StreamRecordTest, AVoteBeginsAnewWhereNothingCameOfIt) {
  v1::GenerateRequest question = Question();
  question.mutable_consensus()->set_max_samples(2);
  StreamRecord record(question);
  for (int i = 0; i < 2; ++i) record.Add(Events()[i]);
  EXPECT_TRUE(record.MayGoOn());
  EXPECT_FALSE(record.NextRequest().has_resume());
  EXPECT_TRUE(record.NextRequest().has_consensus());
  EXPECT_EQ(record.NextRequest().seed(), 7U);
  record.Add(Events()[2]);
  EXPECT_FALSE(record.MayGoOn());
  EXPECT_TRUE(StreamRecord(Question()).MayGoOn());
}

TEST(StreamRecordTest, AfterARestartTheNewRunIsWhatIsLeft) {
  StreamRecord record(Question());
  for (int i = 0; i < 3; ++i) record.Add(Events()[i]);
  v1::GenerateResponse anew;
  v1::Restarted& restarted = *anew.mutable_restarted();
  restarted.set_variant("qwen-32b");
  restarted.set_worker("c:3");
  restarted.set_fingerprint("other");
  restarted.set_prompt_tokens(4);
  restarted.set_first_phase(v1::PHASE_REASONING);
  restarted.mutable_limits()->set_max_tokens(500);
  EXPECT_TRUE(record.Add(anew)->has_restarted());
  v1::GenerateRequest request = record.NextRequest();
  EXPECT_EQ(request.variant(), "qwen-32b");
  EXPECT_EQ(request.max_tokens(), 500);
  EXPECT_EQ(request.seed(), 7U);
  EXPECT_EQ(request.resume().prompt_tokens(), 4);
  EXPECT_EQ(request.resume().fingerprint(), "other");
  EXPECT_EQ(request.resume().outputs_size(), 0) << "what came before is void";
  record.Add(Events()[2]);
  request = record.NextRequest();
  EXPECT_EQ(request.resume().outputs(0).token_ids_size(), 2);
  v1::GenerateResponse again = Events()[1];
  again.mutable_started()->set_fingerprint("other");
  const auto shown = record.Add(again);
  ASSERT_TRUE(shown && shown->has_moved());
  EXPECT_EQ(shown->moved().previous_worker(), "c:3");
  EXPECT_TRUE(shown->moved().exact());
}

TEST(StreamRecordTest, WhoLetAnotherStandInStillDoes) {
  v1::GenerateRequest question = Question();
  question.mutable_wishes()->set_may_substitute(true);
  StreamRecord record(question);
  for (int i = 0; i < 3; ++i) record.Add(Events()[i]);
  EXPECT_EQ(record.NextRequest().wishes().SerializeAsString(),
            question.wishes().SerializeAsString());
  EXPECT_EQ(record.NextRequest().variant(), "qwen-7b");
}

TEST(StreamRecordTest, ASecondStartIsSeenAsAMove) {
  StreamRecord record(Question());
  for (int i = 0; i < 3; ++i) record.Add(Events()[i]);
  EXPECT_FALSE(record.Add(Events()[0]).has_value());
  v1::GenerateResponse again = Events()[1];
  again.mutable_started()->set_worker("b:2");
  const auto shown = record.Add(again);
  ASSERT_TRUE(shown && shown->has_moved());
  EXPECT_EQ(shown->moved().worker(), "b:2");
  EXPECT_EQ(shown->moved().previous_worker(), "a:1");
  EXPECT_TRUE(shown->moved().exact());
  again.mutable_started()->set_fingerprint("other");
  EXPECT_FALSE(record.Add(again)->moved().exact());
}

}  // namespace
}  // namespace thinkwire::router::client
