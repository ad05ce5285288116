// A stream whose worker is gone after it has started.

#include <gmock/gmock.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fake_fleet.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;
using Events = std::vector<v1::GenerateResponse>;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Eight ids of thought twice, two of an answer, and text that was held back in both phases.
Events Stream() {
  Events events = SmallStream();
  v1::GenerateResponse more;
  for (int id = 100; id < 108; ++id) more.mutable_reasoning_delta()->add_token_ids(id);
  more.mutable_reasoning_delta()->set_text("eight");
  events.insert(events.begin() + 3, 2, more);
  v1::GenerateResponse held;
  held.mutable_reasoning_delta()->set_text("é");
  events.insert(events.begin() + 5, held);
  held.mutable_answer_delta()->set_text("ü");
  events.insert(events.begin() + 8, held);
  events[6].mutable_reasoning_finished()->set_reasoning_tokens(19);
  events[9].mutable_finished()->mutable_tokens()->set_reasoning_tokens(19);
  events[10].mutable_completed()->mutable_usage()->set_reasoning_tokens(19);
  return events;
}

void SetOutput(std::int32_t index, v1::GenerateResponse& event) {
  if (event.has_reasoning_delta()) event.mutable_reasoning_delta()->set_output_index(index);
  if (event.has_reasoning_finished()) event.mutable_reasoning_finished()->set_output_index(index);
  if (event.has_answer_delta()) event.mutable_answer_delta()->set_output_index(index);
  if (event.has_finished()) event.mutable_finished()->set_output_index(index);
}

// Two outputs that are both as Stream's, the second one two events behind.
Events TwoOutputs() {
  const Events one = Stream();
  Events events(one.begin(), one.begin() + 2);
  const Events output(one.begin() + 2, one.end() - 1);
  for (std::size_t i = 0; i < output.size() + 2; ++i) {
    if (i < output.size()) events.push_back(output[i]);
    if (i < 2) continue;
    events.push_back(output[i - 2]);
    SetOutput(1, events.back());
  }
  events.push_back(one.back());
  v1::Usage& usage = *events.back().mutable_completed()->mutable_usage();
  usage.set_reasoning_tokens(2 * usage.reasoning_tokens());
  usage.set_answer_tokens(2 * usage.answer_tokens());
  return events;
}

absl::Status Lost() { return absl::UnavailableError("connection reset"); }

class MoveTest : public FakeFleetTest {
 protected:
  MoveTest() : FakeFleetTest(3) {
    for (FakeWorker& worker : workers_) worker.SetScript({.events = Stream()});
    EXPECT_TRUE(pool_.TickUntilLive());
  }

  // The worker sends so many events of all, and goes.
  void EndAfter(std::size_t worker, std::size_t events, const absl::Status& end = Lost()) {
    Events some = Stream();
    some.resize(events);
    workers_[worker].SetScript({.events = some, .end = end});
  }
  // The worker breaks the contract with that message.
  void HaveLie(std::size_t worker, std::int64_t seq) {
    workers_[worker].SetScript({.events = Stream(), .tamper = [seq](auto& message) {
                                  if (message.seq() == seq) message.set_attempt(100);
                                }});
  }
  // All but the first drain from now on.
  void LeaveTheFirstAlone() {
    SetDraining(1, true);
    SetDraining(2, true);
    ASSERT_TRUE(pool_.WaitForLive(0, 1));
  }

  void Pass(Clock::Duration time) {
    clock_.Advance(time);
    moves_.Tick();
  }
  // The first worker is trusted as at the beginning: it has served its time, and a request.
  void Trust() {
    clock_.Advance(kFirstDistrust);
    workers_[0].SetScript({.events = Stream()});
    const auto sink = Ask();
    EXPECT_TRUE(sink->WaitForEnd().ok());
    EXPECT_EQ(sink->events().at(1).started().worker(), workers_[0].address());
  }
  // Asks where no worker is left after three events, and waits until it looks for one.
  std::shared_ptr<TestSink> AskAndLoseAll(fleet::CallContext context = {}) {
    EndAfter(0, 3);
    LeaveTheFirstAlone();
    auto sink = Ask(1000, std::move(context));
    EXPECT_TRUE(sink->WaitForEvents(3));
    EXPECT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
    EXPECT_FALSE(sink->ended());
    return sink;
  }

  // What the client sees beside Moved is what one worker would have sent.
  static void ExpectWhole(const Events& seen, std::size_t moves, const Events& all = Stream()) {
    Events rest;
    std::size_t moved = 0;
    for (const auto& event : seen) {
      if (event.has_moved()) {
        ++moved;
      } else if (!event.has_queued()) {
        rest.push_back(event);
      }
    }
    EXPECT_EQ(moved, moves);
    ASSERT_EQ(rest.size(), all.size() - 1);  // but Queued
    for (std::size_t i = 1; i < rest.size() - 1; ++i) {
      EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(rest[i], all[i + 1]))
          << rest[i].DebugString() << all[i + 1].DebugString();
    }
    const v1::Completed& completed = rest.back().completed();
    EXPECT_EQ(completed.resumes(), moves);
    EXPECT_EQ(completed.usage().SerializeAsString(),
              all.back().completed().usage().SerializeAsString());
  }
};

// Its reader is slow, so that nobody reads the worker either as it is given up.
TEST_F(MoveTest, WhatWaitsForASlowReaderComesBeforeWhatTheNextWorkerSays) {
  Events begun = Stream();
  begun.resize(7);  // with ReasoningFinished
  workers_[0].SetScript({.events = begun, .stays_open = true});
  const auto sink = Ask(1);  // Started waits for room
  ASSERT_TRUE(sink->WaitForRefusals(1));
  workers_[0].SetStatus(
      [](auto& status) { status.add_ranks()->mutable_since_progress()->set_seconds(5); });
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  ASSERT_TRUE(pool_.WaitUntil([&] {
    pool_->Tick();
    return workers_[1].num_calls() == 1;
  }));
  sink->MakeRoom(1000);
  latest().Resume();
  ASSERT_TRUE(sink->WaitForEnd().ok());
  const Events events = sink->events();
  EXPECT_EQ(events.front().event_case(), v1::GenerateResponse::kQueued);
  std::string reasoning;
  int moves = 0;
  for (const auto& event : events) {
    reasoning += event.reasoning_delta().text();
    moves += event.has_moved() ? 1 : 0;
  }
  EXPECT_EQ(reasoning, "So 2.eighteighté");
  EXPECT_EQ(moves, 1);
}

TEST_F(MoveTest, WhereverAWorkerIsLostTheNextGoesOn) {
  for (std::size_t events = 2; events < Stream().size(); ++events) {
    SCOPED_TRACE(absl::StrCat(events, " events before the loss"));
    EndAfter(0, events);
    const auto sink = Ask();
    ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    const Events seen = sink->events();
    ExpectWhole(seen, 1);
    ASSERT_TRUE(seen.at(events).has_moved());
    const v1::Moved& moved = seen[events].moved();
    EXPECT_EQ(moved.worker(), workers_[1].address());
    EXPECT_EQ(moved.previous_worker(), workers_[0].address());
    EXPECT_EQ(moved.reason(), "the worker was lost");
    EXPECT_TRUE(moved.exact());
    const v1::WorkerGenerateRequest request = workers_[1].last_call().request;
    EXPECT_EQ(request.attempt(), 2);
    EXPECT_FALSE(request.request().has_prompt());
    EXPECT_EQ(request.request().max_tokens(), 1000);
    Trust();
  }
  EXPECT_EQ(Metric("thinkwire_router_moves_total"), 9);
  EXPECT_EQ(Metric("thinkwire_router_resume_gap_seconds"), 8) << "one had finished";
}

TEST_F(MoveTest, WhereverAWorkerIsLostAllOutputsGoOn) {
  const Events all = TwoOutputs();
  v1::GenerateRequest request = Question();
  request.set_n(2);
  for (std::size_t events = 2; events < all.size(); ++events) {
    SCOPED_TRACE(absl::StrCat(events, " events before the loss"));
    Events some = all;
    some.resize(events);
    workers_[0].SetScript({.events = some, .end = Lost()});
    workers_[1].SetScript({.events = all});
    const auto sink = Ask(1000, {}, request);
    ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    ExpectWhole(sink->events(), 1, all);
    const v1::WorkerGenerateRequest sent = workers_[1].last_call().request;
    EXPECT_EQ(sent.request().n(), 2);
    EXPECT_EQ(sent.resume().outputs_size(), events < 3 ? 0 : events < 6 ? 1 : 2);
    Trust();
  }
}

TEST_F(MoveTest, WhatFitsNoMessageEndsAndSaysSo) {
  for (FakeWorker& worker : workers_) {
    worker.SetStatus([](auto& status) {
      status.set_max_model_len(kMaxModelLen);
      status.set_vocab_size(kMaxTokenIds);
    });
  }
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).max_model_len == kMaxModelLen; }));
  Events events = Stream();
  events.resize(2);
  const int max_tokens = 600'000;
  events[1].mutable_started()->mutable_limits()->set_max_tokens(max_tokens);
  events[1].mutable_started()->mutable_limits()->set_max_model_len(kMaxModelLen);
  events[1].mutable_started()->mutable_limits()->set_vocab_size(kMaxTokenIds);
  v1::GenerateResponse more;
  for (int i = 0; i < kMaxEventTokens; ++i) {
    more.mutable_reasoning_delta()->add_token_ids(kMaxTokenIds - 1);  // of four bytes
  }
  const int needed = kMaxMessageBytes / 4 / kMaxEventTokens + 1;
  events.insert(events.end(), needed, more);
  workers_[0].SetScript({.events = events, .end = Lost()});
  const auto sink = Ask();
  const absl::Status status = sink->WaitForEnd();
  EXPECT_EQ(rpc::ErrorReason(status), "WORKER_LOST");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("require_resumable"));
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

TEST_F(MoveTest, AFullSinkLosesNothingAndDoublesNothing) {
  for (std::size_t events = 2; events < Stream().size(); ++events) {
    SCOPED_TRACE(absl::StrCat(events, " events before the loss"));
    EndAfter(0, events);
    const auto sink = Ask(events - 1);
    ASSERT_TRUE(sink->WaitForRefusals(1));
    for (int i = 0; i < 20; ++i) {
      sink->MakeRoom(1);
      latest().Resume();
    }
    ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    ExpectWhole(sink->events(), 1);
    Trust();
  }
}

TEST_F(MoveTest, WhoDrainsHandsItsStreamsOver) {
  for (const char* reason : {"DRAINING", "SHUTTING_DOWN"}) {
    EndAfter(0, 4, rpc::WithRetryAfter(rpc::Error(Code::kUnavailable, reason, "later")));
    const auto sink = Ask();
    ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    ExpectWhole(sink->events(), 1);
  }
}

TEST_F(MoveTest, AStreamMayOutliveSeveralWorkers) {
  EndAfter(0, 3);
  EndAfter(1, 4);
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 2);
  const v1::ResumeState state = workers_[2].last_call().request.resume();
  EXPECT_EQ(state.prompt_ids_size(), 3);
  EXPECT_EQ(state.outputs(0).token_ids_size(), 10);
  EXPECT_EQ(state.outputs(0).reasoning_text_bytes(), 10);
}

TEST_F(MoveTest, PoisonIsGivenToNoThirdWorker) {
  EndAfter(0, 4);
  EndAfter(1, 4);
  const auto sink = Ask();
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "POISON");
  EXPECT_EQ(sink->WaitForEnd().code(), Code::kInternal);
  EXPECT_EQ(workers_[2].num_calls(), 0);
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 10);
  EXPECT_EQ(Metric("thinkwire_router_poisoned_total"), 1);
}

TEST_F(MoveTest, DrainsAreNoPoison) {
  for (int i = 0; i < 2; ++i) EndAfter(i, 4, rpc::Error(Code::kUnavailable, "DRAINING", "later"));
  const auto sink = Ask();
  EXPECT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 2);
}

TEST_F(MoveTest, AnErrorOfTheStreamIsItsEnd) {
  EndAfter(0, 4, rpc::Error(Code::kInternal, "NOT_FINITE", "the logits are not finite"));
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "NOT_FINITE");
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

TEST_F(MoveTest, ARefusalOfTheNextIsNoReasonToEndIt) {
  EndAfter(0, 4);
  workers_[1].SetScript({.end = rpc::Error(Code::kResourceExhausted, "QUEUE_FULL", "full")});
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 1);
  EXPECT_EQ(workers_[2].last_call().request.attempt(), 3);
}

TEST_F(MoveTest, OneWhoRepeatsWhatWasSentBreaksTheContract) {
  EndAfter(0, 4);
  workers_[1].SetScript({.events = Stream(), .tamper = [](v1::WorkerGenerateResponse& message) {
                           if (message.seq() == 3) *message.mutable_event() = Stream()[3];
                         }});
  EXPECT_EQ(Ask()->WaitForEnd().code(), Code::kInternal);
}

TEST_F(MoveTest, WhoLiesIsFollowedByAnother) {
  for (const std::size_t worker : {0, 1}) HaveLie(worker, 3);
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 2);
  EXPECT_EQ(sink->events().at(3).moved().reason(), "the worker broke the contract");
  EXPECT_FALSE(sink->events().at(3).moved().exact()) << "what it said may be anything";
}

TEST_F(MoveTest, ALiarIsDistrustedAndThenEjected) {
  HaveLie(0, 3);
  for (int i = 0; i < kFailuresToEject; ++i) {
    const auto sink = Ask();
    ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
    EXPECT_EQ(sink->events().at(3).moved().previous_worker(), workers_[0].address());
    clock_.Advance(kLastDistrust);
  }
  EXPECT_EQ(pool_->Describe(0).out, 1);
}

TEST_F(MoveTest, WhereAllLieItIsPoison) {
  for (std::size_t worker = 0; worker < 3; ++worker) HaveLie(worker, 2);
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "POISON");
  EXPECT_EQ(workers_[2].num_calls(), 0);
}

TEST_F(MoveTest, WithoutABudgetALieIsTheEnd) {
  while (retries_.Withdraw()) {
  }
  HaveLie(0, 3);
  EXPECT_EQ(rpc::ErrorReason(Ask()->WaitForEnd()), "WORKER_PROTOCOL");
  EXPECT_EQ(workers_[1].num_calls(), 0);
}

TEST_F(MoveTest, AnEqualFingerprintIsPreferredAndAnotherSaysSo) {
  Events other = Stream();
  other[1].mutable_started()->set_fingerprint("other");
  workers_[1].SetScript({.events = other});
  workers_[1].SetStatus([](auto& status) { status.set_fingerprint("other"); });
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).fingerprints.size() == 2; }));
  EndAfter(0, 4);
  auto sink = Ask();
  EXPECT_TRUE(sink->WaitForEnd().ok());
  EXPECT_EQ(sink->events().at(4).moved().worker(), workers_[2].address());
  EXPECT_TRUE(sink->events().at(4).moved().exact());

  Trust();
  EndAfter(0, 4);
  SetDraining(2, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  sink = Ask();
  EXPECT_TRUE(sink->WaitForEnd().ok());
  EXPECT_EQ(sink->events().at(4).moved().worker(), workers_[1].address());
  EXPECT_FALSE(sink->events().at(4).moved().exact());
}

TEST_F(MoveTest, ItsTimesAreThoseOfAllAttempts) {
  EndAfter(0, 8);  // the last is of the answer
  LeaveTheFirstAlone();
  const auto sink = Ask();
  ASSERT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
  SetDraining(1, false);
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  Pass(milliseconds(700));
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  const v1::Timings timings = sink->events().back().completed().timings();
  EXPECT_EQ(rpc::ReadDuration(timings.queue()), Clock::Duration::zero()) << "the first's";
  EXPECT_EQ(rpc::ReadDuration(timings.prefill()), Clock::Duration::zero());
  EXPECT_EQ(rpc::ReadDuration(timings.answer()), milliseconds(700)) << "with the pause";
  EXPECT_EQ(rpc::ReadDuration(timings.total()), milliseconds(700));
}

TEST_F(MoveTest, OneThatComesInTimeGoesOn) {
  const auto sink = AskAndLoseAll();
  Pass(milliseconds(500));
  EXPECT_FALSE(sink->ended());
  SetDraining(1, false);
  ASSERT_TRUE(pool_.WaitForLive(0, 2));
  Pass(milliseconds(100));
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 1);
}

TEST_F(MoveTest, TheSameMayComeBack) {
  const auto sink = AskAndLoseAll();
  workers_[0].SetScript({.events = Stream()});
  Pass(milliseconds(900));
  EXPECT_EQ(workers_[0].num_calls(), 1) << "too soon";
  Pass(milliseconds(100));
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  ExpectWhole(sink->events(), 1);
}

TEST_F(MoveTest, WithoutOneItEndsAndTellsWhatItSpent) {
  const auto sink = AskAndLoseAll();
  SetDraining(0, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  Pass(milliseconds(9900));
  EXPECT_FALSE(sink->ended());
  Pass(milliseconds(100));
  EXPECT_EQ(rpc::ErrorReason(sink->WaitForEnd()), "WORKER_LOST");
  EXPECT_TRUE(rpc::RetryAfter(sink->WaitForEnd()).has_value());
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 2);
  EXPECT_EQ(sink->usage()->prompt_tokens(), 3);
}

TEST_F(MoveTest, WhoAsksForItIsToldWhileAnotherIsLookedFor) {
  EndAfter(0, 3);
  LeaveTheFirstAlone();
  v1::GenerateRequest request = Question();
  request.set_progress(true);
  const auto sink = Ask(1000, {}, request);
  ASSERT_TRUE(sink->WaitForEvents(3));
  ASSERT_TRUE(pool_.WaitUntil([&] { return moves_.num_waiting() == 1; }));
  SetDraining(0, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  Pass(milliseconds(400));
  EXPECT_EQ(sink->events().size(), 3u);
  for (int i = 0; i < 10; ++i) Pass(milliseconds(100));
  const Events seen = sink->events();
  ASSERT_EQ(seen.size(), 5u) << "after 500 and 1,000 of 1,400 ms";
  EXPECT_EQ(seen[3].progress().reason(), v1::SILENCE_REASON_MOVING);
  EXPECT_EQ(seen[4].progress().reason(), v1::SILENCE_REASON_MOVING);
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
}

TEST_F(MoveTest, ACancelEndsTheWait) {
  const auto sink = AskAndLoseAll();
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
  Pass(seconds(1));
}

TEST_F(MoveTest, TheDeadlineEndsTheWait) {
  const auto sink = AskAndLoseAll({.deadline = clock_.Now() + seconds(5)});
  SetDraining(0, true);
  ASSERT_TRUE(pool_.WaitForLive(0, 0));
  Pass(milliseconds(4900));
  EXPECT_FALSE(sink->ended());
  Pass(milliseconds(100));
  EXPECT_TRUE(absl::IsDeadlineExceeded(sink->WaitForEnd())) << sink->WaitForEnd();
}

TEST_F(MoveTest, AnEarlierAttemptIsNotHeard) {
  EndAfter(0, 4);
  Events some = Stream();
  some.resize(5);
  workers_[1].SetScript({.events = some, .stays_open = true});
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(6));  // with Moved
  v1::WorkerGenerateResponse late;
  late.set_attempt(1);
  late.set_seq(4);
  *late.mutable_event() = Stream()[4];
  EXPECT_TRUE(static_cast<fleet::WorkerAttempt::Reader&>(latest()).OnMessage(std::move(late)));
  EXPECT_EQ(sink->events().size(), 6U);
  latest().Cancel();
  EXPECT_FALSE(sink->WaitForEnd().ok());
  EXPECT_EQ(sink->usage()->reasoning_tokens(), 18);
}

TEST_F(MoveTest, AClientsStateIsWhereItGoesOn) {
  v1::GenerateRequest request = Question();
  v1::ResumeState& state = *request.mutable_resume();
  state.set_prompt_tokens(3);
  v1::OutputState& output = *state.add_outputs();
  for (const int id : {10, 11}) output.add_token_ids(id);
  output.set_phase(v1::PHASE_REASONING);
  output.set_reasoning_tokens(2);
  output.set_reasoning_text_bytes(5);
  EndAfter(0, 4);
  const auto sink = Ask(1000, {}, request);
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  const v1::WorkerGenerateRequest first = workers_[0].last_call().request;
  EXPECT_EQ(first.attempt(), 1);
  EXPECT_TRUE(first.request().has_prompt());
  EXPECT_FALSE(first.request().has_resume());
  EXPECT_EQ(first.resume().SerializeAsString(), state.SerializeAsString());
  EXPECT_EQ(workers_[1].last_call().request.resume().outputs(0).token_ids_size(), 10);
  const Events seen = sink->events();
  ASSERT_EQ(seen.size(), Stream().size());  // without a delta, with Moved
  EXPECT_TRUE(seen[1].has_started());
  EXPECT_EQ(seen[2].reasoning_delta().token_ids_size(), 8);
  EXPECT_TRUE(seen[3].has_moved());
  EXPECT_EQ(seen.back().completed().usage().reasoning_tokens(), 19);
}

}  // namespace
}  // namespace thinkwire::router
