// What becomes of requests whose worker says nothing, and of the worker.

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "router/generation.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/event_sink.h"
#include "tests/router/fleet/pool_fixture.h"
#include "tests/router/in_order_policy.h"

namespace thinkwire::router {
namespace {

using std::chrono::seconds;

// Two workers, of which the first promises most. Time moves when told, and never by as much as
// makes their statuses old.
class SilentWorkerTest : public testing::Test {
 protected:
  SilentWorkerTest() {
    silent_.SetStatus([](auto& status) { status.set_max_num_seqs(4096); });
    silent_.SetScript({.stays_open = true});
    honest_.SetScript({.events = SmallStream()});
    EXPECT_TRUE(pool_.TickUntilLive());
  }
  ~SilentWorkerTest() override {
    generations_.clear();
    EXPECT_TRUE(registry_.WaitUntilEmpty(seconds(60)));
  }

  std::shared_ptr<TestSink> Ask(std::size_t room = 1000) {
    auto sink = std::make_shared<TestSink>(room);
    const auto generation = Generation::Make({.variants = variants_,
                                              .policy = policy_,
                                              .pool = *pool_,
                                              .metrics = metrics_,
                                              .registry = registry_,
                                              .clock = clock_,
                                              .retries = retries_,
                                              .moves = moves_},
                                             {}, sink);
    v1::GenerateRequest question;
    question.mutable_prompt()->set_text("1+1?");
    generation->Start(std::move(question));
    generations_.push_back(generation);
    return sink;
  }
  void Pass(Clock::Duration time) {
    clock_.Advance(time);
    pool_->Tick();
  }
  // Until the silent one was given up and its stream has ended elsewhere. It may not be read yet
  // when its event is seen, and then is not silent: so more than once, while the honest one speaks.
  absl::Status PassUntilEnd(TestSink& sink) {
    for (int i = 1; i <= 5 && !sink.ended(); ++i) {
      Pass(std::chrono::milliseconds(1100));
      honest_.SetStatus([&](auto& status) { status.set_queued(i); });
      EXPECT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).queued == i; }));
      int looks = 0;
      pool_.WaitUntil([&] { return sink.ended() || ++looks > 200; });
    }
    return sink.WaitForEnd();
  }
  // All but kMaxProbes of a hundred requests are answered.
  void ExpectFewDrawn() {
    std::vector<std::shared_ptr<TestSink>> drawn;
    for (int i = 0; i < kMaxProbes; ++i) drawn.push_back(Ask());
    for (int i = kMaxProbes; i < 100; ++i) ASSERT_TRUE(Ask()->WaitForEnd().ok()) << i;
    EXPECT_TRUE(silent_.WaitForCalls(kMaxProbes));
    EXPECT_EQ(silent_.num_calls(), kMaxProbes);
    for (const auto& generation : generations_) generation->Cancel();
    for (const auto& sink : drawn) EXPECT_FALSE(sink->WaitForEnd().ok());
  }
  FakeClock clock_;
  FakeWorker silent_{"qwen-7b"};
  FakeWorker honest_{"qwen-7b"};
  const std::vector<VariantConfig> variants_ = {
      {.name = "qwen-7b", .workers = {silent_.address(), honest_.address()}}};
  prometheus::Registry metrics_registry_;
  RouterMetrics metrics_{metrics_registry_, {"qwen-7b"}};
  const InOrderPolicy policy_;
  fleet::PoolUnderTest pool_{variants_, clock_, {.silence = seconds(1), .progress = seconds(2)}};
  RetryBudget retries_;
  MoveSchedule moves_{clock_};
  GenerationRegistry registry_;
  std::vector<std::shared_ptr<Generation>> generations_;
};

TEST_F(SilentWorkerTest, AnotherAnswersAndTheSilentOneGetsLess) {
  const auto first = Ask();
  ASSERT_TRUE(silent_.WaitForCalls(1));
  Pass(std::chrono::milliseconds(1100));
  EXPECT_TRUE(first->WaitForEnd().ok()) << first->WaitForEnd();
  EXPECT_NE(first->events().at(1).started().worker_reason().find("the first was silent"),
            std::string::npos);
  ASSERT_TRUE(silent_.WaitForCancels(1));
  // It promises most still, and gets nothing before it has answered a probe.
  EXPECT_TRUE(Ask()->WaitForEnd().ok());
  EXPECT_EQ(silent_.num_calls(), 1);
  EXPECT_EQ(pool_->Describe(0).out, 1);
  ASSERT_TRUE(pool_.WaitUntil([&] {
    if (silent_.num_probes() == 0) Pass(seconds(1));
    // Statuses are told again, so that none is old.
    for (FakeWorker* const worker : {&silent_, &honest_}) worker->SetStatus([](auto&) {});
    return pool_->Describe(0).live == 2;
  }));
  const auto later = Ask();
  ASSERT_TRUE(silent_.WaitForCalls(2)) << "it has another chance";
  generations_.back()->Cancel();
  EXPECT_FALSE(later->WaitForEnd().ok());
}

TEST_F(SilentWorkerTest, OneThatSaysNothingDrawsFewRequests) { ExpectFewDrawn(); }

TEST_F(SilentWorkerTest, OneThatOnlyPromisesDrawsFewRequestsToo) {
  auto events = SmallStream();
  events.resize(1);
  ASSERT_TRUE(events.front().has_queued());
  silent_.SetScript({.events = events, .stays_open = true});
  ExpectFewDrawn();
}

TEST_F(SilentWorkerTest, AfterStartedAnotherGoesOnAndOneThatWakesUpIsNotHeard) {
  auto events = SmallStream();
  const auto late = events[3];
  events.resize(3);
  silent_.SetScript({.events = events, .stays_open = true});
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(3));
  ASSERT_TRUE(PassUntilEnd(*sink).ok()) << sink->WaitForEnd();
  silent_.Say(late);
  const auto all = sink->events();
  ASSERT_EQ(all.size(), SmallStream().size() + 1);
  EXPECT_EQ(all[3].moved().reason(), "the worker was silent");
  EXPECT_EQ(all[4].reasoning_finished().reasoning_tokens(), 3);
  ASSERT_TRUE(silent_.WaitForCancels(1));
}

TEST_F(SilentWorkerTest, WhileNobodyReadsItMayBeSilent) {
  auto events = SmallStream();
  events.resize(3);
  silent_.SetScript({.events = events, .stays_open = true});
  const auto sink = Ask(1);
  ASSERT_TRUE(sink->WaitForRefusals(1));
  Pass(std::chrono::milliseconds(1500));
  sink->MakeRoom(10);
  generations_.back()->Resume();
  ASSERT_TRUE(sink->WaitForEvents(3)) << "it was not given up";
  EXPECT_FALSE(sink->ended());
  ASSERT_TRUE(PassUntilEnd(*sink).ok()) << sink->WaitForEnd();
  EXPECT_EQ(sink->events().at(3).moved().previous_worker(), silent_.address());
}

}  // namespace
}  // namespace thinkwire::router
