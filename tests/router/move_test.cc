// A stream whose worker is gone after it has started.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "tests/router/move_fixture.h"

namespace thinkwire::router {
namespace {

using Code = absl::StatusCode;

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
