#include "worker/serve/response_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/rpc/status_details.h"
#include "tests/fakes/fake_clock.h"
#include "tests/worker/serve/response_stream_testing.h"

namespace thinkwire::worker::serve {
namespace {

TEST(ResponseStreamTest, TokensBecomeEventsWithUsage) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 3, {'a', 'b', kThinkEnd, '\n', 'c', kEos});
  FakeWorker worker(std::move(model));
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, MakeRequest(1), sink);
  EXPECT_TRUE(sink->WaitUntilEnded().ok());
  const auto messages = sink->messages();
  const Totals totals = AddUp(messages);
  EXPECT_EQ(totals.ids, (std::vector<std::int32_t>{'a', 'b', kThinkEnd, '\n', 'c', kEos}));
  EXPECT_EQ(totals.reasoning, "ab");
  EXPECT_EQ(totals.answer, "c");
  ASSERT_TRUE(totals.completed);
  EXPECT_EQ(totals.completed->usage().prompt_tokens(), 3);
  EXPECT_EQ(totals.completed->usage().reasoning_tokens(), 3);
  EXPECT_EQ(totals.completed->usage().answer_tokens(), 3);
  EXPECT_EQ(totals.completed->usage().discarded_tokens(), 0);
  EXPECT_TRUE(totals.completed->timings().has_queue());
  EXPECT_TRUE(totals.completed->timings().has_reasoning());
  EXPECT_TRUE(totals.completed->timings().has_answer());
  const auto started = std::ranges::find_if(
      messages, [](const auto& message) { return message.event().has_started(); });
  ASSERT_NE(started, messages.end());
  EXPECT_EQ(started->event().started().seed(), 1U);
  EXPECT_EQ(started->event().started().prompt_tokens(), 3);
  EXPECT_EQ(started->event().started().fingerprint(), "fake-1");
  EXPECT_EQ(started->event().started().limits().max_tokens(), 509);
  EXPECT_EQ(started->event().started().first_phase(), v1::PHASE_REASONING);
  ASSERT_EQ(messages[0].prompt_ids().ids_size(), 3);
  EXPECT_EQ(messages[0].prompt_ids().ids(2), kThink);
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(ResponseStreamTest, CachedPromptTokensAreTold) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  const auto ask = [&worker](const std::string& salt) {
    v1::GenerateRequest request = MakeRequest(1);
    request.mutable_prompt()->set_text(std::string(40, 'a'));
    request.set_max_tokens(2);
    request.set_cache_salt(salt);
    auto sink = std::make_shared<FakeSink>(kUnlimited);
    Start(worker, request, sink);
    EXPECT_TRUE(sink->WaitUntilEnded().ok());
    EXPECT_TRUE(worker.WaitUntilIdle());
    std::vector<std::int32_t> told;
    for (const auto& message : sink->messages()) {
      const v1::GenerateResponse& event = message.event();
      if (event.has_started()) told.push_back(event.started().cached_prompt_tokens());
      if (event.has_completed()) told.push_back(event.completed().usage().cached_prompt_tokens());
    }
    return told;
  };
  EXPECT_EQ(ask(""), (std::vector<std::int32_t>{0, 0}));
  EXPECT_EQ(ask(""), (std::vector<std::int32_t>{32, 32}));
  EXPECT_EQ(ask("tenant"), (std::vector<std::int32_t>{0, 0}));
  EXPECT_EQ(ask("tenant"), (std::vector<std::int32_t>{32, 32}));
}

TEST(ResponseStreamTest, StopStringDiscardsWhatTheEngineMadeBeyond) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 3, {kThinkEnd, 'o', 'k', '!'});
  FakeWorker worker(std::move(model));
  v1::GenerateRequest request = MakeRequest(1);
  request.mutable_answer_sampling()->add_stop_strings("k");
  request.set_ignore_eos(true);
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, request, sink);
  EXPECT_TRUE(sink->WaitUntilEnded().ok());
  const Totals totals = AddUp(sink->messages());
  EXPECT_EQ(totals.ids, (std::vector<std::int32_t>{kThinkEnd, 'o', 'k'}));
  EXPECT_EQ(totals.answer, "o");
  ASSERT_TRUE(totals.completed);
  EXPECT_EQ(totals.completed->usage().answer_tokens(), 2);
  EXPECT_GE(totals.completed->usage().discarded_tokens(), 0);
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(ResponseStreamTest, CancelFreesEverythingAndWritesNoMore) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  worker.runner.CloseGate();
  v1::GenerateRequest request = MakeRequest(5);
  request.set_ignore_eos(true);
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  std::weak_ptr<ResponseStream> watched;
  {
    auto stream = Start(worker, request, sink);
    watched = stream;
    sink->WaitForMessages(1);
    stream->Cancel();
    stream->Cancel();
  }
  worker.runner.OpenGate();
  EXPECT_TRUE(worker.WaitUntilIdle());
  EXPECT_EQ(sink->WaitUntilEnded().code(), absl::StatusCode::kCancelled);
  worker.pool.Stop();
  EXPECT_TRUE(watched.expired());
}

TEST(ResponseStreamTest, ACancelJustBeforeTheDeadlineWasTheDeadline) {
  FakeClock clock;
  FakeWorker worker(engine::FakeModel(kVocabulary), clock);
  worker.runner.CloseGate();
  v1::GenerateRequest request = MakeRequest(5);
  request.set_ignore_eos(true);
  const auto cancel = [&](Clock::Duration before_deadline) {
    auto sink = std::make_shared<FakeSink>(kUnlimited);
    auto stream = Start(worker, request, sink, clock.Now() + std::chrono::seconds(10));
    clock.Advance(std::chrono::seconds(10) - before_deadline);
    stream->Cancel();
    return sink;
  };
  const auto just_before = cancel(std::chrono::milliseconds(150));
  const auto well_before = cancel(std::chrono::seconds(1));
  worker.runner.OpenGate();
  EXPECT_EQ(just_before->WaitUntilEnded().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(well_before->WaitUntilEnded().code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(ResponseStreamTest, NotFiniteIsInternal) {
  engine::FakeModel model(kVocabulary);
  ScriptIds(model, 1, 3, {'a', 'b'});
  model.ScriptNotFinite(1, 5);
  FakeWorker worker(std::move(model));
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, MakeRequest(1), sink);
  const absl::Status status = sink->WaitUntilEnded();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(rpc::ErrorReason(status), "NOT_FINITE");
  EXPECT_EQ(AddUp(sink->messages()).reasoning, "ab");
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(ResponseStreamTest, FullQueueIsRefusedWithARetryDelay) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  worker.runner.CloseGate();
  v1::GenerateRequest request = MakeRequest(5);
  std::vector<std::shared_ptr<FakeSink>> sinks;
  std::vector<std::shared_ptr<ResponseStream>> streams;
  std::optional<absl::Status> refusal;
  // 4 run, 8 wait; while the engine has not looked yet a few more may.
  for (int i = 0; i < 64 && !refusal; ++i) {
    sinks.push_back(std::make_shared<FakeSink>(kUnlimited));
    streams.push_back(Start(worker, request, sinks.back()));
    if (i >= 12) sinks.back()->WaitForMessages(1);
    if (sinks.back()->ended()) refusal = sinks.back()->WaitUntilEnded();
  }
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(rpc::ErrorReason(*refusal), "QUEUE_FULL");
  EXPECT_TRUE(rpc::RetryAfter(*refusal));
  for (const auto& stream : streams) stream->Cancel();
  worker.runner.OpenGate();
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(ResponseStreamTest, ShutdownIsUnavailable) {
  FakeWorker worker{engine::FakeModel(kVocabulary)};
  worker.runner.CloseGate();
  v1::GenerateRequest request = MakeRequest(5);
  request.set_ignore_eos(true);
  auto sink = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, request, sink);
  std::thread stopper([&] { worker.engine.Stop(); });
  worker.runner.OpenGate();
  stopper.join();
  const absl::Status status = sink->WaitUntilEnded();
  // It may have run to its length limit first.
  EXPECT_TRUE(status.ok() || status.code() == absl::StatusCode::kUnavailable) << status;
}

}  // namespace
}  // namespace thinkwire::worker::serve
