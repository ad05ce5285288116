#include "router/voting.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/shares.h"
#include "common/rpc/status_details.h"
#include "common/rpc/stream_contract.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fake_fleet.h"

namespace thinkwire::router {
namespace {

using Events = std::vector<v1::GenerateResponse>;

constexpr int kReasoningTokens = 3;
constexpr int kAnswerTokens = 2;

v1::GenerateRequest Election(int max_samples, std::optional<float> agreement = std::nullopt) {
  v1::GenerateRequest request;
  request.mutable_prompt()->set_text("1+1?");
  request.mutable_consensus()->set_max_samples(max_samples);
  if (agreement) request.mutable_consensus()->set_agreement(*agreement);
  return request;
}

// A worker begins.
Events Begin() {
  Events events = SmallStream();
  events.resize(2);
  return events;
}

// All that an output brings: thought and answer.
Events Output(int index, const std::string& answer,
              v1::FinishReason reason = v1::FINISH_REASON_END) {
  const Events stream = SmallStream();
  Events events(stream.begin() + 2, stream.begin() + 6);
  events[0].mutable_reasoning_delta()->set_output_index(index);
  events[1].mutable_reasoning_finished()->set_output_index(index);
  events[2].mutable_answer_delta()->set_output_index(index);
  events[2].mutable_answer_delta()->set_text(answer);
  v1::Finished& finished = *events[3].mutable_finished();
  finished.set_output_index(index);
  finished.set_reason(reason);
  if (reason != v1::FINISH_REASON_END) {
    finished.clear_token_ids();
    finished.mutable_tokens()->set_answer_tokens(1);
  }
  return events;
}

// A worker ends, after so many outputs.
Events End(int outputs) {
  Events events = {SmallStream().back()};
  v1::Usage& usage = *events[0].mutable_completed()->mutable_usage();
  usage.set_reasoning_tokens(outputs * kReasoningTokens);
  usage.set_answer_tokens(outputs * kAnswerTokens);
  return events;
}

Events Join(const std::vector<Events>& parts) {
  Events all;
  for (const Events& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

std::int32_t IndexOfFinished(const v1::GenerateResponse& event) {
  return event.finished().output_index();
}

class VotingTest : public FakeFleetTest {
 protected:
  VotingTest() : FakeFleetTest(2) { EXPECT_TRUE(pool_.TickUntilLive()); }

  void Play(const std::vector<Events>& parts, std::size_t worker = 0) {
    workers_[worker].SetScript({.events = Join(parts)});
  }
  // The worker says so much, and is lost.
  void PlayAndLose(const std::vector<Events>& parts) {
    workers_[0].SetScript({.events = Join(parts), .end = absl::UnavailableError("reset")});
  }
  // The worker says so much, and runs on.
  void PlayOn(const std::vector<Events>& parts) {
    workers_[0].SetScript({.events = Join(parts), .stays_open = true});
  }

  // The first worker is trusted as at the beginning: it has served its time, and a request.
  void Trust() {
    clock_.Advance(kFirstDistrust);
    workers_[0].SetScript({.events = SmallStream()});
    const auto sink = Ask();
    ASSERT_TRUE(sink->WaitForEnd().ok());
    ASSERT_EQ(sink->events().at(1).started().worker(), workers_[0].address());
  }
  // The stream ends well and is as the contract has it.
  static Events ExpectWell(TestSink& sink, const v1::GenerateRequest& request) {
    EXPECT_TRUE(sink.WaitForEnd().ok()) << sink.WaitForEnd();
    rpc::StreamContract contract(request);
    for (const auto& event : sink.events()) {
      const absl::Status status = contract.Add(event);
      EXPECT_TRUE(status.ok()) << status << event.DebugString();
    }
    EXPECT_TRUE(contract.End().ok()) << contract.End();
    return sink.events();
  }
  static std::string AnswerOf(const Events& events) {
    std::string text;
    for (const auto& event : events) text += event.answer_delta().text();
    return text;
  }
};

TEST_F(VotingTest, TheWinnerIsSentAndOfTheOthersTheirEnd) {
  Play({Begin(), Output(2, "so 5.0"), Output(0, "4"), Output(1, "5"), End(3)});
  const auto request = Election(3);
  const auto sink = Ask(1000, {}, request);
  const Events events = ExpectWell(*sink, request);
  EXPECT_EQ(workers_[0].last_call().request.request().n(), 3);
  EXPECT_FALSE(workers_[0].last_call().request.request().has_consensus());
  ASSERT_EQ(events.size(), 9U);
  EXPECT_EQ(events[2].reasoning_delta().output_index(), 0) << "one vote each: the first output's";
  EXPECT_EQ(AnswerOf(events), "4");
  EXPECT_EQ(IndexOfFinished(events[6]), 1);
  EXPECT_EQ(events[6].finished().reason(), v1::FINISH_REASON_END);
  EXPECT_EQ(events[6].finished().tokens().answer_tokens(), kAnswerTokens);
  EXPECT_EQ(IndexOfFinished(events[7]), 2);
  const v1::Completed& completed = events[8].completed();
  ASSERT_EQ(completed.votes_size(), 3);
  EXPECT_EQ(completed.votes(2).answer(), "so 5.0");
  EXPECT_EQ(completed.usage().reasoning_tokens(), kReasoningTokens);
  EXPECT_EQ(completed.usage().answer_tokens(), kAnswerTokens);
  EXPECT_EQ(completed.usage().discarded_tokens(), 1 + 2 * (kReasoningTokens + kAnswerTokens));
  EXPECT_EQ(Metric("thinkwire_router_votes_total"), 1);
  EXPECT_EQ(Metric("thinkwire_router_voters_total"), 3);
}

TEST_F(VotingTest, OnceItIsCertainTheRestIsEnded) {
  Events third = Output(2, "7");
  third.resize(1);
  PlayOn({Begin(), third, Output(0, "5"), Output(1, "$5.0$")});
  const auto request = Election(3);
  const auto sink = Ask(1000, {}, request);
  const Events events = ExpectWell(*sink, request);
  EXPECT_TRUE(workers_[0].WaitForCancels(1));
  EXPECT_EQ(AnswerOf(events), "5");
  const v1::Finished& not_needed = events[events.size() - 2].finished();
  EXPECT_EQ(not_needed.output_index(), 2);
  EXPECT_EQ(not_needed.reason(), v1::FINISH_REASON_NOT_NEEDED);
  EXPECT_EQ(not_needed.phase(), v1::PHASE_REASONING);
  EXPECT_EQ(not_needed.tokens().reasoning_tokens(), 2);
  const v1::Completed& completed = events.back().completed();
  ASSERT_EQ(completed.votes_size(), 1);
  EXPECT_EQ(completed.votes(0).answer(), "5");
  EXPECT_EQ(completed.votes(0).output_indexes_size(), 2);
  EXPECT_EQ(completed.usage().discarded_tokens(), kReasoningTokens + kAnswerTokens + 2);
}

TEST_F(VotingTest, OfTwoTheFirstWinsWhateverTheOtherSays) {
  PlayOn({Begin(), Output(0, "5")});
  const auto request = Election(2);
  EXPECT_EQ(AnswerOf(ExpectWell(*Ask(1000, {}, request), request)), "5");
}

TEST_F(VotingTest, AShareOfVotesIsEnough) {
  PlayOn({Begin(), Output(0, "5"), Output(1, "6"), Output(2, "6")});
  const auto request = Election(8, 0.25F);
  const Events events = ExpectWell(*Ask(1000, {}, request), request);
  EXPECT_EQ(AnswerOf(events), "6");
  EXPECT_EQ(events.back().completed().votes(0).output_indexes(0), 1);
}

TEST_F(VotingTest, WithoutAnAnswerTheFirstOutputIsSent) {
  Events loops = Join({Output(0, "5", v1::FINISH_REASON_LOOP), Output(1, "\n")});
  Play({Begin(), loops, End(2)});
  const auto request = Election(2);
  const Events events = ExpectWell(*Ask(1000, {}, request), request);
  EXPECT_EQ(AnswerOf(events), "5");
  EXPECT_EQ(events.back().completed().votes_size(), 0);
}

TEST_F(VotingTest, AVoteOutlivesItsWorker) {
  const std::vector<Events> all = {Begin(), Output(0, "4"), Output(1, "5"), Output(2, "5"), End(3)};
  const auto request = Election(3);
  const std::size_t whole = Join(all).size();
  for (std::size_t sent = 2; sent < whole; ++sent) {
    SCOPED_TRACE(absl::StrCat(sent, " events before the loss"));
    Events some = Join(all);
    some.resize(sent);
    PlayAndLose({some});
    Play(all, 1);
    const auto sink = Ask(1000, {}, request);
    const Events events = ExpectWell(*sink, request);
    EXPECT_EQ(AnswerOf(events), "5");
    const bool ended = sent + 1 == whole;
    EXPECT_EQ(events.back().completed().resumes(), ended ? 0 : 1)
        << "once all have ended nobody needs to go on";
    EXPECT_EQ(events.back().completed().votes(0).output_indexes(0), 1);
    Trust();
  }
}

TEST_F(VotingTest, WhatAReaderHasNoRoomForWaits) {
  Play({Begin(), Output(0, "5"), Output(1, "5"), End(2)});
  const auto request = Election(2);
  const auto sink = Ask(3, {}, request);
  for (int i = 1; i <= 5; ++i) {
    ASSERT_TRUE(sink->WaitForRefusals(i));
    sink->MakeRoom(1);
    latest().Resume();
  }
  EXPECT_EQ(ExpectWell(*sink, request).size(), 8U);
}

TEST_F(VotingTest, ACancelEndsItWhereverItIs) {
  PlayOn({Begin(), Output(0, "5")});
  const auto held = Ask(1000, {}, Election(3));
  ASSERT_TRUE(held->WaitForEvents(2));
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(held->WaitForEnd()));
  EXPECT_EQ(held->events().size(), 2U);

  Play({Begin(), Output(0, "5"), Output(1, "5"), End(2)});
  const auto told = Ask(3, {}, Election(2));
  ASSERT_TRUE(told->WaitForRefusals(1));
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(told->WaitForEnd()));
}

TEST_F(VotingTest, AnErrorTellsThatAllWasDiscarded) {
  workers_[0].SetScript({.events = Join({Begin(), Output(0, "5")}),
                         .end = rpc::Error(absl::StatusCode::kInternal, "NOT_FINITE", "no")});
  const auto sink = Ask(1000, {}, Election(3));
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "NOT_FINITE");
  EXPECT_EQ(sink->usage()->reasoning_tokens() + sink->usage()->answer_tokens(), 0);
  EXPECT_EQ(sink->usage()->discarded_tokens(), kReasoningTokens + kAnswerTokens);
  EXPECT_EQ(Metric("thinkwire_router_votes_total"), 1);
  EXPECT_EQ(Metric("thinkwire_router_voters_total"), 0);
}

TEST_F(VotingTest, WhoAsksIsToldThatItVotes) {
  auto request = Election(3);
  request.set_progress(true);
  PlayOn({Begin()});
  const auto sink = Ask(1000, {}, request);
  ASSERT_TRUE(sink->WaitForEvents(2));  // the worker's script is over: two must not speak at once
  for (const auto& event : Output(0, "5")) workers_[0].Say(event);
  ASSERT_TRUE(sink->WaitForEvents(3));
  EXPECT_EQ(sink->events()[2].progress().reason(), v1::SILENCE_REASON_VOTING);
  clock_.Advance(std::chrono::seconds(1));
  workers_[0].Say(Output(1, "5")[0]);
  ASSERT_TRUE(sink->WaitForEvents(4));
  // How much of the first output the time has found there, the worker's pace says.
  const v1::Progress progress = sink->events()[3].progress();
  EXPECT_EQ(progress.reason(), v1::SILENCE_REASON_VOTING);
  EXPECT_GE(progress.computed_tokens(), 3);
  EXPECT_EQ(progress.total_tokens(), progress.computed_tokens());
  for (const std::size_t next : {1, 2, 3}) workers_[0].Say(Output(1, "5")[next]);
  ExpectWell(*sink, request);
}

TEST_F(VotingTest, AnAnswerNowIsForAllOutputs) {
  PlayOn({Begin(), Output(0, "5")});
  Ask(1000, {}, Election(4))->WaitForEvents(2);
  std::promise<std::int32_t> outputs;
  latest().AnswerNow(1, [&](const auto& told) { outputs.set_value(told.value_or(0)); });
  EXPECT_EQ(outputs.get_future().get(), 1);
  ASSERT_TRUE(workers_[0].WaitForAnswersNow(1));
  EXPECT_EQ(workers_[0].answers_now()[0].request.output_index(), 1);
  latest().Cancel();
}

TEST_F(VotingTest, TheMetricsSayHowMuchIsHeld) {
  PlayOn({Begin(), Output(0, std::string(3000, 'x'))});
  const auto sink = Ask(1000, {}, Election(3));
  const auto held = [&] { return Metric("thinkwire_router_held_bytes"); };
  EXPECT_TRUE(pool_.WaitUntil([&] { return held() >= 3000; }));
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
  generations_.clear();
  EXPECT_TRUE(registry_.WaitUntilEmpty(std::chrono::seconds(60)));
  EXPECT_EQ(held(), 0);
}

TEST_F(VotingTest, WhatAllHoldIsBounded) {
  rpc::Shares held(2000);
  held_bytes_ = &held;
  PlayOn({Begin(), Output(0, std::string(3000, 'x'))});
  const auto sink = Ask(1000, {}, Election(2));
  const absl::Status status = sink->WaitForEnd();
  EXPECT_TRUE(absl::IsResourceExhausted(status)) << status;
  EXPECT_EQ(rpc::ErrorReason(status), "HELD_TOO_MUCH");
  EXPECT_TRUE(rpc::RetryAfter(status).has_value());
  EXPECT_TRUE(workers_[0].WaitForCancels(1));
  generations_.clear();
  EXPECT_TRUE(registry_.WaitUntilEmpty(std::chrono::seconds(60)));
  EXPECT_EQ(held.held(), 0);
}

TEST(VotingLimitTest, WhatARequestHoldsIsBounded) {
  Voting voting(Election(2), nullptr, "");
  Events output = Output(0, std::string(1 << 20, 'x'));
  std::size_t added = 0;
  absl::Status status;
  while (status.ok() && added < 2 * kMaxHeldBytes) {
    status = voting.Add(output[2], {});
    added += 1 << 20;
  }
  EXPECT_EQ(rpc::ErrorReason(status), "HELD_TOO_MUCH");
  EXPECT_FALSE(rpc::RetryAfter(status).has_value()) << "it would be so again";
  EXPECT_LE(added, kMaxHeldBytes + (1 << 20));
}

TEST(VotingLimitTest, WhoCannotWinHoldsNothing) {
  rpc::Shares all(std::int64_t{1} << 30);
  Voting voting(Election(5), &all, "p");
  const auto add = [&](const Events& output) {
    for (const auto& event : output) ASSERT_TRUE(voting.Add(event, {}).ok());
  };
  add(Output(1, std::string(100'000, 'a')));
  const std::int64_t one = all.held();
  EXPECT_GE(one, 100'000);
  add(Output(3, std::string(100'000, 'a')));
  EXPECT_LE(all.held(), one + 1000) << "output 1 said so before";
}

TEST(VotingKindTest, AFormatSaysHowAnswersAreCompared) {
  const auto winner = [](const v1::GenerateRequest& request,
                         const std::vector<std::string>& answers) {
    Voting voting(request, nullptr, "");
    for (std::size_t i = 0; i < answers.size(); ++i) {
      for (const auto& event : Output(static_cast<int>(i), answers[i])) {
        if (!voting.is_over()) {
          EXPECT_TRUE(voting.Add(event, {}).ok());
        }
      }
    }
    return voting.winner();
  };
  const std::vector<std::string> answers = {"[3]", "[1, 2]", "[1,2.0]"};
  auto request = Election(3);
  request.mutable_answer_format()->set_json_schema("{}");
  EXPECT_EQ(winner(request, answers), 1);
  request.mutable_answer_format()->set_regex(".*");
  EXPECT_EQ(winner(request, answers), 0);
}

}  // namespace
}  // namespace thinkwire::router
