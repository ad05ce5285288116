// Streams whose reader is slow.

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <thread>

#include "common/rpc/status_details.h"
#include "tests/fakes/fake_clock.h"
#include "tests/worker/serve/response_stream_testing.h"
#include "worker/serve/response_stream.h"

namespace thinkwire::worker::serve {
namespace {

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

}  // namespace
}  // namespace thinkwire::worker::serve
