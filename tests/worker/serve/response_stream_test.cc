#include "worker/serve/response_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/mutex.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_clock.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/service_fixture.h"

namespace thinkwire::worker::serve {
namespace {

// A client that reads when it is told to.
class FakeSink final : public ResponseSink {
 public:
  explicit FakeSink(std::size_t capacity) : room_(capacity) {}

  bool Write(const v1::WorkerGenerateResponse& message) override {
    MutexLock lock(mu_);
    if (room_ == 0) {
      refused_ = true;
      changed_.NotifyAll();
      return false;
    }
    --room_;
    messages_.push_back(message);
    changed_.NotifyAll();
    return true;
  }
  void Finish(const absl::Status& status) override {
    MutexLock lock(mu_);
    EXPECT_FALSE(status_.has_value()) << "a stream ends once";
    status_ = status;
    changed_.NotifyAll();
  }

  // Makes room; the caller then tells the stream.
  void Read(std::size_t messages) {
    MutexLock lock(mu_);
    room_ += messages;
    refused_ = false;
  }
  void WaitUntilRefusedOrEnded() {
    MutexLock lock(mu_);
    while (!refused_ && !status_) changed_.Wait(mu_);
  }
  void WaitForMessages(std::size_t count) {
    MutexLock lock(mu_);
    while (messages_.size() < count && !status_) changed_.Wait(mu_);
  }
  absl::Status WaitUntilEnded() {
    MutexLock lock(mu_);
    while (!status_) changed_.Wait(mu_);
    return *status_;
  }
  bool ended() {
    MutexLock lock(mu_);
    return status_.has_value();
  }
  std::vector<v1::WorkerGenerateResponse> messages() {
    MutexLock lock(mu_);
    return messages_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  std::size_t room_ ABSL_GUARDED_BY(mu_);
  bool refused_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<v1::WorkerGenerateResponse> messages_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mu_);
};

constexpr std::size_t kUnlimited = 1'000'000;

v1::GenerateRequest MakeRequest(std::uint64_t seed) {
  v1::GenerateRequest request;
  for (const std::int32_t id : {kBos, std::int32_t{'q'}, kThink}) {
    request.mutable_prompt()->mutable_token_ids()->add_ids(id);
  }
  request.set_seed(seed);
  return request;
}

std::shared_ptr<ResponseStream> Start(FakeWorker& worker, const v1::GenerateRequest& request,
                                      std::shared_ptr<FakeSink> sink,
                                      std::optional<Clock::TimePoint> deadline = {}) {
  auto reading = worker.reader.Read(request);
  EXPECT_TRUE(reading.ok()) << reading.status();
  reading->request.deadline = deadline;
  return ResponseStream::Start(
      worker.shared(),
      {.request_id = "r", .attempt = 7, .traceparent = "", .arrival = worker.clock.Now()},
      *std::move(reading), std::move(sink));
}

struct Totals {
  std::vector<std::int32_t> ids;
  std::string reasoning, answer;
  std::optional<v1::Completed> completed;
};

// Adds the messages up, and checks what holds for every stream.
Totals AddUp(const std::vector<v1::WorkerGenerateResponse>& messages) {
  Totals totals;
  const auto take = [&](const auto& event) {
    totals.ids.insert(totals.ids.end(), event.token_ids().begin(), event.token_ids().end());
  };
  for (std::size_t i = 0; i < messages.size(); ++i) {
    EXPECT_EQ(messages[i].attempt(), 7);
    EXPECT_EQ(messages[i].seq(), static_cast<std::int64_t>(i));
    EXPECT_EQ(messages[i].has_prompt_ids(), i == 0);
    const v1::GenerateResponse& event = messages[i].event();
    if (event.has_reasoning_delta()) {
      take(event.reasoning_delta());
      totals.reasoning += event.reasoning_delta().text();
    }
    if (event.has_reasoning_finished()) take(event.reasoning_finished());
    if (event.has_answer_delta()) {
      take(event.answer_delta());
      totals.answer += event.answer_delta().text();
    }
    if (event.has_finished()) take(event.finished());
    if (event.has_completed()) totals.completed = event.completed();
  }
  return totals;
}

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

TEST(ResponseStreamTest, FullSinkLosesNothing) {
  engine::FakeModel model(kVocabulary);
  FakeWorker worker(std::move(model));
  v1::GenerateRequest request = MakeRequest(5);
  request.set_ignore_eos(true);
  request.set_max_tokens(400);
  auto free_sink = std::make_shared<FakeSink>(kUnlimited);
  Start(worker, request, free_sink);
  EXPECT_TRUE(free_sink->WaitUntilEnded().ok());

  auto sink = std::make_shared<FakeSink>(1);
  auto stream = Start(worker, request, sink);
  while (!sink->ended()) {
    sink->WaitUntilRefusedOrEnded();
    sink->Read(1);
    stream->Resume();
  }
  EXPECT_TRUE(sink->WaitUntilEnded().ok());
  const Totals slow = AddUp(sink->messages());
  const Totals free = AddUp(free_sink->messages());
  EXPECT_EQ(slow.ids.size(), 400U);
  EXPECT_EQ(slow.ids, free.ids);
  EXPECT_EQ(slow.reasoning, free.reasoning);
  EXPECT_TRUE(worker.WaitUntilIdle());
}

TEST(ResponseStreamTest, ReaderThatNeverReadsPausesTheEngineAndIsEnded) {
  FakeClock clock;
  FakeWorker worker(engine::FakeModel(kVocabulary), clock);
  v1::GenerateRequest request = MakeRequest(5);
  request.set_ignore_eos(true);
  request.set_max_tokens(500);
  auto sink = std::make_shared<FakeSink>(1);
  auto stream = Start(worker, request, sink);
  sink->WaitUntilRefusedOrEnded();
  // Until the sequence has paused no time may pass, so that it is not ended for being slow; then
  // it is the time alone that ends it.
  while (worker.engine.status().running > 0) {
    clock.Advance(std::chrono::seconds(61));
    worker.engine.Wake();
    std::this_thread::yield();
  }
  EXPECT_LT(worker.engine.status().steps, 300U) << "the engine ran on without a reader";
  const absl::Status status = sink->WaitUntilEnded();  // although the sink is full
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(rpc::ErrorReason(status), "SLOW_CONSUMER");
  sink->Read(kUnlimited);
  stream->Resume();
  AddUp(sink->messages());
  EXPECT_TRUE(worker.WaitUntilIdle());
}

// How long a stream lasts, up to 200 seconds, whose reader takes a message every `interval` seconds
// while the engine has more at once. A message is of 16 tokens then.
int SecondsOf(int interval) {
  FakeClock clock;
  FakeWorker worker(engine::FakeModel(kVocabulary), clock);
  v1::GenerateRequest request = MakeRequest(5);
  request.set_ignore_eos(true);
  request.set_max_tokens(500);
  auto sink = std::make_shared<FakeSink>(4);
  auto stream = Start(worker, request, sink);
  const auto wait_until_paused = [&] {
    using Pulse = engine::EnginePulse;
    while (worker.engine.pulse().doing != Pulse::kWaiting) std::this_thread::yield();
  };
  int seconds = 0;
  sink->WaitUntilRefusedOrEnded();
  wait_until_paused();
  while (seconds < 200 && worker.engine.status().running > 0) {
    ++seconds;
    clock.Advance(std::chrono::seconds(1));
    if (seconds % interval == 0) {
      sink->Read(1);
      stream->Resume();
      sink->WaitUntilRefusedOrEnded();
    }
    const std::uint64_t turns = worker.engine.pulse().turns;
    worker.engine.Wake();
    while (worker.engine.pulse().turns == turns) std::this_thread::yield();
    wait_until_paused();
  }
  stream->Cancel();
  EXPECT_TRUE(worker.WaitUntilIdle());
  return seconds;
}

TEST(ResponseStreamTest, AReaderOfTwoTokensASecondGoesOn) { EXPECT_EQ(SecondsOf(8), 200); }

TEST(ResponseStreamTest, AReaderOfATokenInTwoSecondsIsEnded) {
  const int seconds = SecondsOf(30);
  EXPECT_GE(seconds, 60);
  EXPECT_LE(seconds, 122);  // what the sink took at first may count for the first minute
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
