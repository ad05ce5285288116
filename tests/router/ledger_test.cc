#include "router/ledger.h"

#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <chrono>
#include <vector>

#include "common/rpc/proto_time.h"

namespace thinkwire::router {
namespace {

using std::chrono::milliseconds;
using Ids = std::vector<std::int32_t>;

// Feeds a ledger as a worker's stream would, a millisecond a message.
class LedgerTest : public testing::Test {
 protected:
  bool Add(const v1::GenerateResponse& event) {
    v1::WorkerGenerateResponse message;
    message.set_attempt(attempt_);
    message.set_seq(seq_++);
    if (message.seq() == 0) {
      for (const std::int32_t id : {7, 8, 9}) message.mutable_prompt_ids()->add_ids(id);
    }
    *message.mutable_event() = event;
    now_ += milliseconds(1);
    return ledger_.Add(message, now_);
  }

  bool Queue() {
    v1::GenerateResponse event;
    event.mutable_queued()->set_position(1);
    return Add(event);
  }
  bool Start(v1::Phase first_phase = v1::PHASE_REASONING, const std::string& fingerprint = "fp") {
    v1::GenerateResponse event;
    event.mutable_started()->set_first_phase(first_phase);
    event.mutable_started()->set_fingerprint(fingerprint);
    return Add(event);
  }
  bool Reason(const Ids& ids, bool forced = false, int output = 0, const std::string& text = "") {
    v1::GenerateResponse event;
    auto& delta = *event.mutable_reasoning_delta();
    delta.set_text(text);
    delta.set_output_index(output);
    delta.mutable_token_ids()->Assign(ids.begin(), ids.end());
    delta.set_forced(forced);
    return Add(event);
  }
  bool FinishReasoning(const Ids& ids, bool forced = false, int output = 0) {
    v1::GenerateResponse event;
    auto& finished = *event.mutable_reasoning_finished();
    finished.set_output_index(output);
    finished.mutable_token_ids()->Assign(ids.begin(), ids.end());
    finished.set_forced(forced);
    rpc::SetDuration(milliseconds(1250), finished.mutable_duration());
    return Add(event);
  }
  bool Answer(const Ids& ids, bool forced = false, int output = 0, const std::string& text = "") {
    v1::GenerateResponse event;
    auto& delta = *event.mutable_answer_delta();
    delta.set_text(text);
    delta.set_output_index(output);
    delta.mutable_token_ids()->Assign(ids.begin(), ids.end());
    delta.set_forced(forced);
    return Add(event);
  }
  bool Finish(const Ids& ids) {
    v1::GenerateResponse event;
    event.mutable_finished()->mutable_token_ids()->Assign(ids.begin(), ids.end());
    return Add(event);
  }
  void BeginAttempt(std::int32_t attempt) {
    attempt_ = attempt;
    seq_ = 0;
  }

  Ids IdsOf(int output) {
    const auto found = ledger_.outputs().find(output);
    return found == ledger_.outputs().end() ? Ids() : found->second.token_ids;
  }

  Ledger ledger_;
  std::int32_t attempt_ = 1;
  std::int64_t seq_ = 0;
  Clock::TimePoint now_;
};

TEST_F(LedgerTest, TheFirstTokensSayAPhaseThatStartedLeavesOpen) {
  Start(v1::PHASE_UNSPECIFIED);
  Reason({1, 2});
  Answer({3}, false, 1);
  EXPECT_EQ(ledger_.outputs().at(0).phase, v1::PHASE_REASONING);
  EXPECT_EQ(ledger_.outputs().at(1).phase, v1::PHASE_ANSWER);
}

TEST_F(LedgerTest, ThePromptsIdsComeWithTheFirstMessage) {
  EXPECT_FALSE(ledger_.has_prompt_ids());
  Queue();
  EXPECT_TRUE(ledger_.has_prompt_ids());
  EXPECT_EQ(ledger_.prompt_ids(), (Ids{7, 8, 9}));
  const v1::ResumeState state = ledger_.MakeResumeState();
  EXPECT_EQ(state.prompt_ids_size(), 3);
  EXPECT_EQ(state.outputs_size(), 0);
  EXPECT_EQ(state.fingerprint(), "");
}

TEST_F(LedgerTest, NoOutputHasBegunBeforeItsFirstEvent) {
  Start();
  EXPECT_TRUE(ledger_.outputs().empty());
  EXPECT_EQ(ledger_.MakeResumeState().fingerprint(), "fp");
}

TEST_F(LedgerTest, AWholeStreamGivesTheStateThatOneExpects) {
  Queue();
  Start();
  Reason({10, 11});
  Reason({12}, false, 0, "ü");
  FinishReasoning({13});
  Answer({20}, false, 0, "two");
  Answer({}, false, 0, "ü");  // text that was held back
  Answer({21, 22});

  v1::ResumeState expected;
  for (const std::int32_t id : {7, 8, 9}) expected.add_prompt_ids(id);
  expected.set_fingerprint("fp");
  v1::OutputState& output = *expected.add_outputs();
  for (const std::int32_t id : {10, 11, 12, 13, 20, 21, 22}) output.add_token_ids(id);
  output.set_phase(v1::PHASE_ANSWER);
  output.set_reasoning_tokens(4);
  output.mutable_reasoning_duration()->set_seconds(1);
  output.mutable_reasoning_duration()->set_nanos(250'000'000);
  output.set_reasoning_finished(true);
  output.set_reasoning_text_bytes(2);
  output.set_answer_text_bytes(5);
  EXPECT_TRUE(
      google::protobuf::util::MessageDifferencer::Equals(ledger_.MakeResumeState(), expected))
      << ledger_.MakeResumeState().DebugString();
}

TEST_F(LedgerTest, WhileItReasonsTheTimeIsWhatPassedHere) {
  Start();
  Reason({10});
  EXPECT_FALSE(ledger_.MakeResumeState().outputs(0).has_reasoning_duration());
  now_ += milliseconds(499);
  Reason({11});
  const v1::OutputState output = ledger_.MakeResumeState().outputs(0);
  EXPECT_EQ(rpc::ReadDuration(output.reasoning_duration()), milliseconds(500));
  EXPECT_EQ(output.phase(), v1::PHASE_REASONING);
  EXPECT_EQ(output.reasoning_tokens(), 2);
}

TEST_F(LedgerTest, ForcedTokensAreThoseOfForcedEvents) {
  Start();
  Reason({10, 11});
  Reason({12, 13}, true);
  FinishReasoning({14}, true);
  Answer({20});
  Answer({21}, true);
  const v1::OutputState output = ledger_.MakeResumeState().outputs(0);
  EXPECT_EQ(output.forced_tokens(), 4);
  EXPECT_EQ(output.reasoning_tokens(), 5);
  EXPECT_EQ(output.token_ids_size(), 7);
  ASSERT_EQ(output.forced_ranges_size(), 2);
  EXPECT_EQ(output.forced_ranges(0).first(), 2);
  EXPECT_EQ(output.forced_ranges(0).count(), 3) << "over the end of the reasoning";
  EXPECT_EQ(output.forced_ranges(1).first(), 6);
  EXPECT_EQ(output.forced_ranges(1).count(), 1);
}

TEST_F(LedgerTest, WhichWereForcedIsKeptOfWhoeverWentOnAndLeftOutWhereHeDidNotSay) {
  v1::ResumeState state;
  state.set_prompt_tokens(1);
  v1::OutputState& output = *state.add_outputs();
  for (const std::int32_t id : {10, 11, 12}) output.add_token_ids(id);
  output.set_phase(v1::PHASE_REASONING);
  output.set_forced_tokens(1);
  Ledger silent;
  silent.Restore(state);
  EXPECT_EQ(silent.MakeResumeState().outputs(0).forced_ranges_size(), 0);
  output.add_forced_ranges()->set_first(2);
  output.mutable_forced_ranges(0)->set_count(1);
  output.set_reasoning_cause(v1::REASONING_FINISH_CAUSE_ANSWER_NOW);
  output.set_closing_position(2);
  state.mutable_effective()->set_reasoning_budget_tokens(9);
  ledger_.Restore(state);
  Start();
  Reason({13}, true);
  const v1::ResumeState next = ledger_.MakeResumeState();
  ASSERT_EQ(next.outputs(0).forced_ranges_size(), 1);
  EXPECT_EQ(next.outputs(0).forced_ranges(0).count(), 2);
  EXPECT_EQ(next.outputs(0).reasoning_cause(), v1::REASONING_FINISH_CAUSE_ANSWER_NOW);
  EXPECT_EQ(next.outputs(0).closing_position(), 2);
  EXPECT_EQ(next.effective().reasoning_budget_tokens(), 9);
}

TEST_F(LedgerTest, WhatTheFirstWorkerSettledStays) {
  for (const std::int32_t budget : {7, 8}) {
    v1::GenerateResponse event;
    event.mutable_started()->mutable_effective()->set_reasoning_budget_tokens(budget);
    Add(event);
  }
  EXPECT_EQ(ledger_.MakeResumeState().effective().reasoning_budget_tokens(), 7);
}

TEST_F(LedgerTest, WithoutReasoningTheAnswerComesFirst) {
  Start(v1::PHASE_ANSWER);
  Answer({20});
  const v1::OutputState output = ledger_.MakeResumeState().outputs(0);
  EXPECT_EQ(output.phase(), v1::PHASE_ANSWER);
  EXPECT_EQ(output.reasoning_tokens(), 0);
  EXPECT_FALSE(output.has_reasoning_duration());
}

TEST_F(LedgerTest, ReasoningThatNothingClosedIsFollowedByNoAnswer) {
  Start();
  Reason({10});
  FinishReasoning({});
  EXPECT_EQ(ledger_.outputs().at(0).phase, v1::PHASE_REASONING);
  EXPECT_FALSE(ledger_.outputs().at(0).finished);
  Finish({2});
  EXPECT_EQ(IdsOf(0), (Ids{10, 2}));
  EXPECT_TRUE(ledger_.outputs().at(0).finished);
}

TEST_F(LedgerTest, OutputsAreKeptApart) {
  Start();
  Reason({30}, false, 2);
  Reason({10});
  FinishReasoning({11});
  Reason({31}, true, 2);
  Answer({12});
  EXPECT_EQ(IdsOf(0), (Ids{10, 11, 12}));
  EXPECT_EQ(IdsOf(1), Ids());
  EXPECT_EQ(IdsOf(2), (Ids{30, 31}));
  const v1::ResumeState state = ledger_.MakeResumeState();
  ASSERT_EQ(state.outputs_size(), 2);
  EXPECT_EQ(state.outputs(0).output_index(), 0);
  EXPECT_EQ(state.outputs(0).phase(), v1::PHASE_ANSWER);
  EXPECT_EQ(state.outputs(1).output_index(), 2);
  EXPECT_EQ(state.outputs(1).phase(), v1::PHASE_REASONING);
  EXPECT_EQ(state.outputs(1).forced_tokens(), 1);
}

TEST_F(LedgerTest, ALaterAttemptGoesOnAndAnEarlierOneIsTooLate) {
  Start();
  Reason({10});
  BeginAttempt(2);
  Start();
  EXPECT_TRUE(Reason({11}));
  EXPECT_EQ(ledger_.attempt(), 2);
  BeginAttempt(1);
  EXPECT_FALSE(Reason({99}));
  BeginAttempt(2);
  EXPECT_TRUE(FinishReasoning({12}));
  EXPECT_EQ(IdsOf(0), (Ids{10, 11, 12}));
  EXPECT_EQ(ledger_.prompt_ids(), (Ids{7, 8, 9}));
  EXPECT_EQ(ledger_.MakeResumeState().fingerprint(), "fp");
}

TEST_F(LedgerTest, TokensOfDifferentFingerprintsHaveNone) {
  Start();
  BeginAttempt(2);
  Start(v1::PHASE_REASONING, "other");  // no token was made under the first
  EXPECT_EQ(ledger_.MakeResumeState().fingerprint(), "other");
  Reason({10});
  BeginAttempt(3);
  Start();
  EXPECT_EQ(ledger_.MakeResumeState().fingerprint(), "");
  Reason({11});
  BeginAttempt(4);
  Start();
  EXPECT_EQ(ledger_.MakeResumeState().fingerprint(), "");
}

TEST_F(LedgerTest, AnAttemptThatHasBegunIsHeardAlone) {
  Start();
  ledger_.BeginAttempt(2);
  EXPECT_FALSE(Reason({99}));
  EXPECT_EQ(ledger_.tokens(), 0);
}

TEST_F(LedgerTest, SaysWhetherAllWasMadeUnderTheFirstFingerprint) {
  EXPECT_FALSE(ledger_.started());
  Start();
  EXPECT_TRUE(ledger_.started());
  BeginAttempt(2);
  Start();
  EXPECT_TRUE(ledger_.exact());
  BeginAttempt(3);
  Start(v1::PHASE_REASONING, "other");
  EXPECT_FALSE(ledger_.exact());
  BeginAttempt(4);
  Start(v1::PHASE_REASONING, "other");
  EXPECT_FALSE(ledger_.exact());
}

TEST_F(LedgerTest, CountsWhatTheStreamHasBrought) {
  Start();
  Reason({10, 11});
  FinishReasoning({12}, true);
  Answer({20});
  const v1::Usage usage = ledger_.MakeUsage();
  EXPECT_EQ(usage.reasoning_tokens(), 3);
  EXPECT_EQ(usage.answer_tokens(), 1);
  EXPECT_EQ(usage.forced_tokens(), 1);
  EXPECT_EQ(ledger_.tokens(), 4);
}

TEST_F(LedgerTest, WhatCameBeforeARestartIsDiscarded) {
  Start();
  Reason({10, 11});
  ledger_ = ledger_.MakeNext(5);
  EXPECT_FALSE(ledger_.started());
  EXPECT_FALSE(ledger_.has_prompt_ids());
  EXPECT_EQ(ledger_.tokens(), 0);
  EXPECT_EQ(ledger_.void_tokens(), 7);
  BeginAttempt(2);
  Start(v1::PHASE_REASONING, "other");
  EXPECT_TRUE(ledger_.exact()) << "under one fingerprint since";
  EXPECT_EQ(ledger_.fingerprint(), "other");
  Reason({30});
  const v1::Usage usage = ledger_.MakeUsage();
  EXPECT_EQ(usage.reasoning_tokens(), 1);
  EXPECT_EQ(usage.discarded_tokens(), 7);
  EXPECT_EQ(ledger_.MakeNext(0).void_tokens(), 8);
  EXPECT_EQ(ledger_.MakeResumeState().outputs(0).token_ids_size(), 1);
}

TEST_F(LedgerTest, AClientsRestartIsTheNextRunsStart) {
  Start();
  Reason({10, 11});
  v1::GenerateResponse event;
  event.mutable_restarted()->set_fingerprint("other");
  event.mutable_restarted()->set_prompt_tokens(12);
  event.mutable_restarted()->set_first_phase(v1::PHASE_REASONING);
  event.mutable_restarted()->mutable_effective()->set_min_answer_tokens(64);
  Add(event);
  EXPECT_TRUE(ledger_.started());
  EXPECT_EQ(ledger_.void_tokens(), 2);
  EXPECT_EQ(ledger_.void_prompt_tokens(), 0) << "Started told none";
  EXPECT_EQ(ledger_.MakeResumeState().prompt_tokens(), 12);
  EXPECT_EQ(ledger_.MakeResumeState().fingerprint(), "other");
  EXPECT_EQ(ledger_.MakeResumeState().effective().min_answer_tokens(), 64);
  EXPECT_EQ(ledger_.MakeResumeState().outputs_size(), 0);
}

TEST_F(LedgerTest, GoesOnFromAStateAndGivesItAgain) {
  Start();
  Reason({10, 11}, false, 0, "two");
  FinishReasoning({12});
  Answer({20}, false, 0, "x");
  const v1::ResumeState state = ledger_.MakeResumeState();
  Ledger other;
  other.Restore(state);
  EXPECT_EQ(other.MakeResumeState().SerializeAsString(), state.SerializeAsString());
  EXPECT_FALSE(other.started());
  EXPECT_EQ(other.tokens(), 4);

  v1::ResumeState of_client = state;
  of_client.clear_prompt_ids();
  of_client.set_prompt_tokens(3);
  of_client.mutable_outputs(0)->clear_answer_text_bytes();
  Ledger third;
  third.Restore(of_client);
  EXPECT_FALSE(third.has_prompt_ids());
  EXPECT_EQ(third.MakeResumeState().SerializeAsString(), of_client.SerializeAsString());
}

TEST_F(LedgerTest, CountsItsBytes) {
  Start();
  const std::size_t empty = ledger_.bytes();
  for (int i = 0; i < 1000; ++i) Reason({i});
  EXPECT_GE(ledger_.bytes(), empty + 4000);
  EXPECT_LE(ledger_.bytes(), empty + 10'000);
}

}  // namespace
}  // namespace thinkwire::router
