// What becomes of requests whose worker says nothing, and of the worker.

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fake_fleet.h"

namespace thinkwire::router {
namespace {

using std::chrono::seconds;

// Two workers, of which the first promises most. Time moves when told, and never by as much as
// makes their statuses old.
class SilentWorkerTest : public FakeFleetTest {
 protected:
  SilentWorkerTest() : FakeFleetTest(2, {.silence = seconds(1), .progress = seconds(2)}) {
    silent_.SetStatus([](auto& status) { status.set_max_num_seqs(4096); });
    silent_.SetScript({.stays_open = true});
    honest_.SetScript({.events = SmallStream()});
    EXPECT_TRUE(pool_.TickUntilLive());
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

  FakeWorker& silent_ = workers_[0];
  FakeWorker& honest_ = workers_[1];
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
  latest().Cancel();
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
  latest().Resume();
  ASSERT_TRUE(sink->WaitForEvents(3)) << "it was not given up";
  EXPECT_FALSE(sink->ended());
  ASSERT_TRUE(PassUntilEnd(*sink).ok()) << sink->WaitForEnd();
  EXPECT_EQ(sink->events().at(3).moved().previous_worker(), silent_.address());
}

// Twenty ids one by one, as from a worker that serves.
std::vector<v1::GenerateResponse> Running() {
  auto events = SmallStream();
  events.resize(2);
  for (int id = 100; id < 120; ++id) {
    v1::GenerateResponse delta;
    delta.mutable_reasoning_delta()->add_token_ids(id);
    events.push_back(delta);
  }
  return events;
}

// Whose ids are all there is to go on from.
std::vector<v1::GenerateResponse> WholeOf(std::vector<v1::GenerateResponse> events) {
  const auto all = SmallStream();
  events.insert(events.end(), all.begin() + 3, all.end());
  events[events.size() - 4].mutable_reasoning_finished()->set_reasoning_tokens(21);
  events[events.size() - 2].mutable_finished()->mutable_tokens()->set_reasoning_tokens(21);
  events.back().mutable_completed()->mutable_usage()->set_reasoning_tokens(21);
  return events;
}

class CrowdedWorkerTest : public FakeFleetTest {
 protected:
  CrowdedWorkerTest()
      : FakeFleetTest(2, {.silence = std::chrono::hours(1), .standstill = seconds(2)}) {
    crowded_.SetScript({.events = Running(), .stays_open = true});
    free_.SetScript({.events = WholeOf(Running())});
    EXPECT_TRUE(pool_.TickUntilLive());
  }

  // Time passes, and both statuses are told again, so that none is old. At most twelve times.
  void Pass() {
    clock_.Advance(seconds(1));
    ++told_;
    crowded_.SetStatus([&](auto& status) { status.set_queued(told_); });
    free_.SetStatus([&](auto& status) { status.set_running(told_); });
    EXPECT_TRUE(pool_.WaitUntil([&] {
      const fleet::VariantState state = pool_->Describe(0);
      return state.running == told_ && state.queued >= told_;
    }));
    pool_->Tick();
  }

  int told_ = 0;
  FakeWorker& crowded_ = workers_[0];
  FakeWorker& free_ = workers_[1];
};

TEST_F(CrowdedWorkerTest, AStreamThatStandsStillGoesOnWhereThereIsRoom) {
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(22));
  // It may not be read yet when its event is seen, and then does not stand still.
  for (int i = 0; i < 12 && !sink->ended(); ++i) {
    Pass();
    int looks = 0;
    pool_.WaitUntil([&] { return sink->ended() || ++looks > 200; });
  }
  ASSERT_TRUE(sink->WaitForEnd().ok()) << sink->WaitForEnd();
  EXPECT_EQ(sink->events().at(22).moved().reason(), "the worker had no room to go on");
  EXPECT_EQ(pool_->Describe(0).out, 0) << "it is no fault of the worker's";
  EXPECT_EQ(Metric("thinkwire_router_moves_total"), 1);
}

TEST_F(CrowdedWorkerTest, WhereThereIsNoneItStays) {
  free_.SetStatus([](auto& status) { status.set_queued(1); });
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).queued == 1; }));
  const auto sink = Ask();
  ASSERT_TRUE(sink->WaitForEvents(22));
  for (int i = 0; i < 10; ++i) Pass();
  EXPECT_FALSE(sink->ended());
  EXPECT_EQ(free_.num_calls(), 0);
  latest().Cancel();
  EXPECT_TRUE(absl::IsCancelled(sink->WaitForEnd()));
}

}  // namespace
}  // namespace thinkwire::router
