#include "worker/engine/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <thread>
#include <tuple>
#include <vector>

#include "common/log.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_runner.h"
#include "tests/fakes/stderr_log.h"
#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"
#include "worker/engine/step_cost.h"

namespace thinkwire::worker::engine {
namespace {

constexpr Clock::Duration kSecond = std::chrono::seconds(1);

// By D, the plans in flight, and by when the runner computes.
class EngineTest : public testing::TestWithParam<std::tuple<std::int32_t, FakeRunner::When>> {
 protected:
  void Start(EngineConfig config = {}) {
    config.end_of_sequence_ids = {kEos};
    runner_ = std::make_unique<FakeRunner>(limits_, model_, std::get<1>(GetParam()));
    engine_ = std::make_unique<Engine>(config, *runner_, clock_);
  }

  // Until nothing waits, runs or holds a block.
  void WaitIdle() const {
    for (;;) {
      const EngineStatus status = engine_->status();
      if (status.queued == 0 && status.running == 0 && status.parked == 0) {
        EXPECT_EQ(status.free_blocks, status.total_blocks);
        return;
      }
      std::this_thread::yield();
    }
  }

  RequestHandle Submit(const Request& request, Reader& reader) {
    return engine_->Submit(request, reader.stream()).value();
  }

  absl::StatusOr<std::vector<RequestHandle>> SubmitTogether(const std::vector<Request>& outputs,
                                                            const std::vector<Reader>& readers) {
    std::vector<Engine::Arrival> arrivals;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      arrivals.push_back({.request = outputs[i], .stream = readers[i].stream()});
    }
    return engine_->SubmitTogether(std::move(arrivals));
  }

  step::Limits limits_ = MakeLimits(std::get<0>(GetParam()));
  FakeModel model_{kVocab};
  FakeClock clock_;
  std::unique_ptr<FakeRunner> runner_;
  std::unique_ptr<Engine> engine_;
};

INSTANTIATE_TEST_SUITE_P(InFlight, EngineTest,
                         testing::Combine(testing::Values(1, 2),
                                          testing::Values(FakeRunner::When::kOnSubmit,
                                                          FakeRunner::When::kOnCollect)),
                         [](const auto& info) {
                           return std::to_string(std::get<0>(info.param)) +
                                  (std::get<1>(info.param) == FakeRunner::When::kOnSubmit ? "Eager"
                                                                                          : "Lazy");
                         });

TEST_P(EngineTest, RequestGetsItsTokensAndItsEnding) {
  model_.Script(7, 15, kThinkEnd);
  model_.Script(7, 25, kEos);
  Start();
  Reader reader;
  Request request = MakeRequest(7, 10, 100);
  request.logprobs = true;
  Submit(request, reader);
  reader.WaitEnding();
  ExpectTokens(reader.tokens(), Alone(model_, request, 100), true);
  EXPECT_EQ(reader.ending()->reason, EndReason::kEndOfSequence);
  EXPECT_EQ(reader.ending()->generated_tokens, 16);
  EXPECT_TRUE(reader.started());
  WaitIdle();
  EXPECT_GE(engine_->status().steps, 16U);
}

TEST_P(EngineTest, SaysWhatStepsCostAtDebugLevel) {
  Start();
  runner_->Withhold([this] {
    clock_.Advance(std::chrono::milliseconds(2));
    return 0;
  });
  SetLogLevel(LogLevel::kDebug);
  const StderrLog log;
  Reader reader;
  Submit(MakeRequest(7, 10, 2 * StepCost::kFirstKnown), reader);
  reader.WaitEnding();
  engine_->Stop();
  SetLogLevel(LogLevel::kInfo);
  EXPECT_TRUE(log.Has("what steps cost")) << log.text();
  EXPECT_TRUE(log.Has("base_us"));
}

TEST_P(EngineTest, ManyRequestsUnderLittleMemoryEqualThoseAlone) {
  constexpr std::size_t kRequests = 64;
  limits_.max_num_seqs = 16;
  limits_.num_blocks = 40;
  limits_.max_num_batched_tokens = 32;
  for (std::uint64_t seed = 0; seed < kRequests; seed += 3) {
    model_.Script(seed, 30 + static_cast<std::int32_t>(seed % 20), kThinkEnd);
    model_.Script(seed, 60 + static_cast<std::int32_t>(seed % 20), kEos);
  }
  Start();
  std::vector<Reader> readers(kRequests);
  std::vector<Request> requests;
  std::vector<RequestHandle> handles;
  for (std::size_t i = 0; i < kRequests; ++i) {
    requests.push_back(MakeRequest(i, 5 + static_cast<std::int32_t>(i % 23), 60));
    handles.push_back(Submit(requests[i], readers[i]));
  }
  // Half of them are cancelled, each when it has drawn its own number of tokens.
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < kRequests; ++i) {
    threads.emplace_back([&, i] {
      if (i % 2 == 1) {
        readers[i].WaitTokens(i * 7 % 50);
        engine_->Cancel(handles[i]);
      }
      readers[i].WaitEnding();
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < kRequests; ++i) {
    SCOPED_TRACE(testing::Message() << "request " << i);
    const bool cancelled = readers[i].ending()->reason == EndReason::kCancelled;
    EXPECT_TRUE(i % 2 == 1 || !cancelled);
    ExpectTokens(readers[i].tokens(), Alone(model_, requests[i], 60), !cancelled);
  }
  WaitIdle();
  EXPECT_GT(engine_->status().preemptions, 0U);
}

TEST_P(EngineTest, CancelAtAnyMomentLeavesNothing) {
  Start();
  SCOPED_TRACE("seed 1");
  std::mt19937 random(1);
  for (int round = 0; round < 200; ++round) {
    Reader reader(10);  // without a Wake the sequence pauses here: it cannot end by itself
    const RequestHandle handle = Submit(MakeRequest(random(), 20, 60), reader);
    reader.WaitTokens(random() % 8);
    engine_->Cancel(handle);
    engine_->Cancel(handle);
    reader.WaitEnding();
    EXPECT_EQ(reader.ending()->reason, EndReason::kCancelled);
  }
  engine_->Cancel(1 << 20);  // unknown
  WaitIdle();
}

TEST_P(EngineTest, AReaderThatHasAllItWantsIsNoCancel) {
  Start();
  Reader reader(10);  // without a Wake the sequence pauses here: it cannot end by itself
  const RequestHandle handle = Submit(MakeRequest(1, 20, 60), reader);
  reader.WaitTokens(5);
  engine_->Finish(handle);
  engine_->Cancel(handle);  // comes too late
  reader.WaitEnding();
  EXPECT_EQ(reader.ending()->reason, EndReason::kFinishedByReader);
  engine_->Finish(1 << 20);  // unknown
  WaitIdle();
}

TEST_P(EngineTest, CancelledBeforeItIsAdmittedNeverStarts) {
  limits_.max_num_seqs = 1;
  Start();
  runner_->CloseGate();
  Reader running;
  Reader queued;
  Submit(MakeRequest(1, 10, 20), running);
  runner_->WaitUntilBlocked();
  engine_->Cancel(Submit(MakeRequest(2, 10, 20), queued));
  runner_->OpenGate();
  queued.WaitEnding();
  EXPECT_EQ(queued.ending()->reason, EndReason::kCancelled);
  EXPECT_FALSE(queued.started());
  running.WaitEnding();
  EXPECT_EQ(running.ending()->reason, EndReason::kLength);
}

TEST_P(EngineTest, FullQueueRefusesAndWritesNothing) {
  limits_.max_num_seqs = 1;
  Start({.max_queue = 2, .end_of_sequence_ids = {}});
  runner_->CloseGate();
  std::vector<Reader> readers(3);
  for (Reader& reader : readers) Submit(MakeRequest(1, 10, 5), reader);
  Reader refused;
  const absl::Status status = engine_->Submit(MakeRequest(1, 10, 5), refused.stream()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("the limit is 2"), std::string::npos) << status;
  runner_->OpenGate();
  for (Reader& reader : readers) reader.WaitEnding();
  WaitIdle();
  Submit(MakeRequest(1, 10, 5), readers.emplace_back());
  readers.back().WaitEnding();
  EXPECT_TRUE(refused.stream()->Take().empty());
}

TEST_P(EngineTest, OutputsOfOnePromptEqualThoseAlone) {
  Start();
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 40), 12);
  std::vector<Reader> readers(outputs.size());
  const std::vector<RequestHandle> handles = SubmitTogether(outputs, readers).value();
  ASSERT_EQ(handles.size(), outputs.size());
  EXPECT_TRUE(std::ranges::is_sorted(handles));
  engine_->Cancel(handles[5]);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    readers[i].WaitEnding();
    ExpectTokens(readers[i].tokens(), Alone(model_, outputs[i], 40), i != 5);
  }
  WaitIdle();
}

TEST_P(EngineTest, OutputsAreTakenAllOrNone) {
  limits_.max_num_seqs = 1;
  Start({.max_queue = 2, .end_of_sequence_ids = {}});
  runner_->CloseGate();
  Reader running;
  Submit(MakeRequest(1, 10, 5), running);
  runner_->WaitUntilBlocked();
  const std::vector<Request> outputs = OutputsOf(MakeRequest(7, 30, 5), 3);
  const std::vector<Reader> refused(3);
  const absl::Status status = SubmitTogether(outputs, refused).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(), "the queue is full: 0 requests wait, 3 outputs come, the limit is 2");
  std::vector<Request> too_long = OutputsOf(MakeRequest(7, 30, 5), 2);
  too_long[1].max_tokens = 1'000;
  EXPECT_EQ(SubmitTogether(too_long, refused).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(engine_->status().queued, 0);
  std::vector<Reader> readers(2);
  SubmitTogether(OutputsOf(MakeRequest(7, 30, 5), 2), readers).value();
  EXPECT_EQ(engine_->status().queued, 2);
  runner_->OpenGate();
  for (Reader& reader : readers) reader.WaitEnding();
  WaitIdle();
  for (const Reader& reader : refused) EXPECT_TRUE(reader.stream()->Take().empty());
}

TEST_P(EngineTest, RefusesWhatCanNeverFit) {
  Start();
  Reader reader;
  const absl::Status status = engine_->Submit(MakeRequest(1, 200, 57), reader.stream()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(status.message(),
            "prompt of 200 tokens + max_tokens 57 exceeds the context of 256 tokens");
  EXPECT_EQ(engine_->status().queued, 0);
}

TEST_P(EngineTest, TellsQueuePositionsToThoseWhoWait) {
  limits_.max_num_seqs = 1;
  Start();
  runner_->CloseGate();
  std::vector<Reader> readers(3);
  Submit(MakeRequest(0, 10, 5), readers[0]);
  runner_->WaitUntilBlocked();
  Submit(MakeRequest(1, 10, 5), readers[1]);
  Submit(MakeRequest(2, 10, 5), readers[2]);
  runner_->LetThrough(1);
  runner_->WaitUntilBlocked();
  for (Reader& reader : readers) reader.Take();
  EXPECT_EQ(readers[0].queue_positions(), std::vector<std::int32_t>{});
  EXPECT_EQ(readers[1].queue_positions(), (std::vector<std::int32_t>{0}));
  EXPECT_EQ(readers[2].queue_positions(), (std::vector<std::int32_t>{1}));
  EXPECT_EQ(engine_->status().queued, 2);
  EXPECT_EQ(engine_->status().running, 1);
  runner_->OpenGate();
  readers[2].WaitEnding();
  EXPECT_EQ(readers[2].queue_positions(), (std::vector<std::int32_t>{1, 0}));
}

TEST_P(EngineTest, SlowReaderIsWokenAndGetsAll) {
  Start();
  Reader slow(2);
  Reader mate;
  const Request slow_request = MakeRequest(1, 10, 40);
  const Request mate_request = MakeRequest(2, 10, 100);
  Submit(slow_request, slow);
  Submit(mate_request, mate);
  mate.WaitEnding();
  ExpectTokens(mate.tokens(), Alone(model_, mate_request, 100), true);
  EXPECT_EQ(slow.stream()->room(), 0U);
  while (!slow.ending()) {
    slow.WaitTokens(slow.tokens().size() + 1);
    engine_->Wake();
  }
  ExpectTokens(slow.tokens(), Alone(model_, slow_request, 40), true);
  WaitIdle();
}

TEST_P(EngineTest, SlowReaderEndsAfterItsTimeout) {
  Start({.end_of_sequence_ids = {}, .slow_reader_timeout = 10 * kSecond});
  Reader slow(2);
  Submit(MakeRequest(1, 10, 40), slow);
  while (slow.stream()->room() > 0) std::this_thread::yield();
  // The pause begins when the engine next looks; from then on it looks again when woken.
  while (engine_->status().running > 0) {
    clock_.Advance(kSecond);
    engine_->Wake();
    std::this_thread::yield();
  }
  slow.WaitEnding();
  EXPECT_EQ(slow.tokens().size(), 2U);
  EXPECT_EQ(slow.ending()->reason, EndReason::kSlowReader);
  EXPECT_GE(clock_.Now(), Clock::TimePoint(10 * kSecond));
  WaitIdle();
}

TEST_P(EngineTest, WhoIsNotReadHoldsNobodysSlot) {
  limits_.max_num_seqs = 1;
  limits_.max_model_len = 4'096;
  limits_.num_blocks = 1'024;
  Start();
  Reader unread(64);
  Reader mate;
  const Request unread_request = MakeRequest(1, 10, 4'000);
  const Request mate_request = MakeRequest(2, 10, 100);
  Submit(unread_request, unread);
  while (unread.stream()->room() > 0) std::this_thread::yield();
  Submit(mate_request, mate);
  mate.WaitEnding();
  ExpectTokens(mate.tokens(), Alone(model_, mate_request, 100), true);
  while (engine_->status().running > 0) std::this_thread::yield();
  EXPECT_EQ(engine_->status().parked, 1);
  EXPECT_EQ(engine_->status().free_blocks, engine_->status().total_blocks);
  while (!unread.ending()) {
    unread.WaitTokens(unread.tokens().size() + 1);
    engine_->Wake();
  }
  ExpectTokens(unread.tokens(), Alone(model_, unread_request, 4'000), true);
  WaitIdle();
}

TEST_P(EngineTest, DeadlineEndsRunningAndQueued) {
  limits_.max_num_seqs = 1;
  Start();
  Reader running(2);
  Reader queued;
  Request request = MakeRequest(1, 10, 40);
  request.deadline = clock_.Now() + 10 * kSecond;
  runner_->CloseGate();
  Submit(request, running);
  runner_->WaitUntilBlocked();
  request.deadline = clock_.Now() + 5 * kSecond;
  Submit(request, queued);
  clock_.Advance(5 * kSecond);
  runner_->OpenGate();
  queued.WaitEnding();
  EXPECT_EQ(queued.ending()->reason, EndReason::kDeadline);
  while (running.stream()->room() > 0) std::this_thread::yield();
  clock_.Advance(5 * kSecond);
  engine_->Wake();
  WaitIdle();  // before taking, which would make room for one more token
  running.WaitEnding();
  EXPECT_EQ(running.ending()->reason, EndReason::kDeadline);
  EXPECT_EQ(running.ending()->generated_tokens, 2);
}

TEST_P(EngineTest, RealClockWakesTheEngineForADeadline) {
  runner_ = std::make_unique<FakeRunner>(limits_, model_, std::get<1>(GetParam()));
  Engine engine({.end_of_sequence_ids = {kEos}}, *runner_, Clock::Real());
  Reader reader(2);
  Request request = MakeRequest(1, 10, 40);
  request.deadline = Clock::Real().Now() + std::chrono::milliseconds(20);
  ASSERT_TRUE(engine.Submit(request, reader.stream()).ok());
  // Untaken, the sequence pauses and nothing but the deadline moves the engine.
  while (engine.status().queued + engine.status().running > 0) std::this_thread::yield();
  reader.WaitEnding();
  EXPECT_EQ(reader.ending()->reason, EndReason::kDeadline);
  EXPECT_GE(Clock::Real().Now(), *request.deadline);
}

TEST_P(EngineTest, NotFiniteHarmsItselfAlone) {
  model_.ScriptNotFinite(1, 15);
  Start();
  Reader broken;
  Reader mate;
  const Request request = MakeRequest(2, 10, 40);
  Submit(MakeRequest(1, 10, 40), broken);
  Submit(request, mate);
  broken.WaitEnding();
  mate.WaitEnding();
  EXPECT_EQ(broken.ending()->reason, EndReason::kNotFinite);
  EXPECT_EQ(broken.tokens().size(), 5U);
  ExpectTokens(mate.tokens(), Alone(model_, request, 40), true);
}

TEST_P(EngineTest, StopEndsEveryRequest) {
  limits_.max_num_seqs = 2;
  Start();
  // Small streams that nobody wakes: no sequence can end by itself.
  std::vector<Reader> readers;
  for (int i = 0; i < 6; ++i) readers.emplace_back(4);
  for (std::size_t i = 0; i < readers.size(); ++i) Submit(MakeRequest(i, 10, 240), readers[i]);
  readers[0].WaitTokens(3);
  engine_->Stop();
  engine_->Stop();
  for (Reader& reader : readers) {
    reader.Take();
    ASSERT_TRUE(reader.ending());
    EXPECT_EQ(reader.ending()->reason, EndReason::kShutdown);
  }
  EXPECT_TRUE(readers[0].started());
  const EngineStatus status = engine_->status();
  EXPECT_EQ(status.queued, 0);
  EXPECT_EQ(status.running, 0);
  EXPECT_EQ(status.parked, 0);
  EXPECT_EQ(status.free_blocks, status.total_blocks);
  Reader late;
  EXPECT_EQ(engine_->Submit(MakeRequest(1, 10, 5), late.stream()).status().code(),
            absl::StatusCode::kUnavailable);
  engine_->Cancel(1);
  engine_->Wake();
}

TEST_P(EngineTest, SubmittersRaceWithStop) {
  Start();
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (;;) {
        Reader reader;
        if (!engine_->Submit(MakeRequest(t, 10, 5), reader.stream()).ok()) return;
        reader.WaitEnding();
      }
    });
  }
  Reader reader;
  Submit(MakeRequest(9, 10, 200), reader);
  reader.WaitTokens(100);
  engine_->Stop();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(engine_->status().running, 0);
}

}  // namespace
}  // namespace thinkwire::worker::engine
