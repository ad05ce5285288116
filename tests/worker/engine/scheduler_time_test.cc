// Peers whose rows take each other's time: a device on which a step takes what its rows cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "tests/fakes/fake_clock.h"
#include "tests/worker/engine/reader.h"
#include "tests/worker/engine/reference.h"
#include "worker/engine/request_check.h"
#include "worker/engine/scheduler.h"

namespace thinkwire::worker::engine {
namespace {

using std::chrono::microseconds;

struct Device {
  double base = 0;  // microseconds
  double row = 0;
  double input = 0;  // beyond the first of a row

  Clock::Duration Takes(const step::Plan& plan) const {
    double time = base;
    for (const step::Row& row_of : plan.rows) time += row + input * (row_of.count - 1);
    return microseconds(static_cast<std::int64_t>(time));
  }
};
constexpr Device kCpu = {.base = 300, .row = 1000, .input = 200};
constexpr Device kGpu = {.base = 4000, .row = 20, .input = 10};

// The engine's loop over a fake runner that computes one plan after the other, in the time that
// they take on `device`.
class Simulation {
 public:
  struct Asked {
    Request request;
    Reader reader;
    std::int32_t max_tokens = 0;
    RequestHandle handle = 0;
    Clock::TimePoint asked_at;

    bool ended() const { return reader.ending().has_value(); }
  };

  Simulation(const step::Limits& limits, const Device& device)
      : limits_(limits),
        device_(device),
        model_(kVocab),
        runner_(limits, model_),
        scheduler_({.end_of_sequence_ids = {kEos}}, limits) {}
  ~Simulation() {
    scheduler_.EndAll(EndReason::kShutdown);
    while (scheduler_.steps_in_flight() > 0) Collect();
  }

  Asked& Ask(const std::string& peer, std::int32_t prompt_tokens, std::int32_t max_tokens) {
    Asked& asked = asked_.emplace_back();
    asked.request = MakeRequest(asked_.size(), prompt_tokens, max_tokens);
    asked.request.peer = peer;
    asked.request.ignore_eos = true;
    asked.max_tokens = CheckRequest(asked.request, limits_).value();
    asked.handle = asked_.size();
    asked.asked_at = clock_.Now();
    scheduler_.Add(asked.handle, asked.request, asked.max_tokens, asked.reader.stream());
    return asked;
  }

  // One turn of the engine's loop. EXPECTs that the device never stands still while someone wants
  // rows.
  void Turn() {
    while (scheduler_.steps_in_flight() < limits_.max_in_flight) {
      const step::Plan plan = scheduler_.Plan(clock_.Now());
      scheduler_.CheckInvariants();
      if (plan.rows.empty()) break;
      ends_.push_back(std::max(clock_.Now(), last_end_) + device_.Takes(plan));
      last_end_ = ends_.back();
      rows_ += plan.rows.size();
      ++steps_;
      runner_.Submit(plan);
    }
    ASSERT_GT(scheduler_.steps_in_flight(), 0) << "someone can go on";
    Collect();
    for (Asked& asked : asked_) asked.reader.Take();
  }

  template <class Condition>
  void RunUntil(Condition condition) {
    for (int turns = 0; !condition(); ++turns) {
      ASSERT_LT(turns, 200'000);
      Turn();
      if (testing::Test::HasFailure()) return;
    }
  }
  void RunFor(Clock::Duration time) {
    const Clock::TimePoint end = clock_.Now() + time;
    RunUntil([&] { return clock_.Now() >= end; });
  }

  // Asks and runs until it is answered: how long that took, milliseconds.
  double Answer(const std::string& peer, std::int32_t prompt_tokens, std::int32_t max_tokens) {
    const Asked& asked = Ask(peer, prompt_tokens, max_tokens);
    RunUntil([&] { return asked.ended(); });
    return 1e3 * ToSeconds(clock_.Now() - asked.asked_at);
  }

  // Tokens of all that `peer` asked.
  std::int64_t Tokens(const std::string& peer) const {
    std::size_t tokens = 0;
    for (const Asked& asked : asked_) {
      if (asked.request.peer == peer) tokens += asked.reader.tokens().size();
    }
    return static_cast<std::int64_t>(tokens);
  }

  // By how many tokens each that `peer` has asked so far grows in that time.
  std::vector<std::size_t> Growth(const std::string& peer, Clock::Duration time) {
    std::vector<std::size_t> before;
    for (const Asked& asked : asked_) before.push_back(asked.reader.tokens().size());
    RunFor(time);
    std::vector<std::size_t> grew;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (asked_[i].request.peer != peer) continue;
      grew.push_back(asked_[i].reader.tokens().size() - before[i]);
    }
    return grew;
  }

  // What came so far of each is what it is alone.
  void ExpectTexts() {
    for (Asked& asked : asked_) {
      ExpectTokens(asked.reader.tokens(), Alone(model_, asked.request, asked.max_tokens),
                   asked.ended());
    }
  }

  Scheduler& scheduler() { return scheduler_; }
  std::deque<Asked>& asked() { return asked_; }
  double rows_a_step() const { return static_cast<double>(rows_) / static_cast<double>(steps_); }
  void CountAnew() { rows_ = steps_ = 0; }

 private:
  void Collect() {
    if (ends_.front() > clock_.Now()) clock_.Advance(ends_.front() - clock_.Now());
    ends_.pop_front();
    scheduler_.Apply(runner_.Collect(), clock_.Now());
    scheduler_.CheckInvariants();
  }

  const step::Limits limits_;
  const Device device_;
  const FakeModel model_;
  FakeClock clock_;
  FakeRunner runner_;
  Scheduler scheduler_;
  std::deque<Asked> asked_;
  std::deque<Clock::TimePoint> ends_;
  Clock::TimePoint last_end_;
  std::size_t rows_ = 0;
  std::size_t steps_ = 0;
};

// By D, the plans in flight.
class SchedulerTimeTest : public testing::TestWithParam<std::int32_t> {
 protected:
  SchedulerTimeTest() {
    limits_.max_num_seqs = 16;
    limits_.max_num_batched_tokens = 512;
    limits_.max_draws = 0;
    limits_.max_model_len = 16384;
    limits_.block_tokens = 16;
    limits_.num_blocks = 16384;
  }

  // One who asks now and then, so that steps of few rows are known.
  double AnswerAlone(Simulation& simulation) {
    double took = 0;
    for (int i = 0; i < 5; ++i) took = simulation.Answer("honest", 20, 60);
    return took;
  }

  step::Limits limits_ = MakeLimits(GetParam());
};

INSTANTIATE_TEST_SUITE_P(InFlight, SchedulerTimeTest, testing::Values(1, 2),
                         testing::PrintToStringParamName());

TEST_P(SchedulerTimeTest, WhoAsksNowAndThenIsAnsweredInLessThanTwiceTheTimeBesideAFlood) {
  Simulation simulation(limits_, kCpu);
  const double alone = AnswerAlone(simulation);
  for (int i = 0; i < 32; ++i) simulation.Ask("flood", 20, 3000);
  simulation.RunFor(std::chrono::seconds(5));
  for (int i = 0; i < 5; ++i) {
    // It waits for the step of the flood that runs, whose slot it then has.
    EXPECT_LT(simulation.Answer("honest", 20, 60), 1.3 * alone + 5.3);
    simulation.RunFor(std::chrono::milliseconds(600));
  }
  simulation.ExpectTexts();
}

TEST_P(SchedulerTimeTest, AFloodThatHasJustBegunIsNoEqualOfAShortQuestion) {
  Simulation simulation(limits_, kCpu);
  const double alone = AnswerAlone(simulation);
  for (int i = 0; i < 16; ++i) simulation.Ask("flood", 20, 4000);
  simulation.RunFor(std::chrono::milliseconds(20));
  EXPECT_LT(simulation.Answer("honest", 20, 60), 1.5 * alone);
  simulation.ExpectTexts();
}

// A flood's steps are cut while others may come, all its streams go on alike, and its prompts too.
TEST_P(SchedulerTimeTest, WhoComesWaitsForNoLongStep) {
  Simulation simulation(limits_, kCpu);
  AnswerAlone(simulation);
  for (int i = 0; i < 16; ++i) simulation.Ask("flood", 20, 4000);
  simulation.RunFor(std::chrono::seconds(5));
  simulation.Answer("honest", 20, 60);
  simulation.CountAnew();
  const std::vector<std::size_t> grew = simulation.Growth("flood", std::chrono::seconds(3));
  EXPECT_NEAR(simulation.rows_a_step(), 4, 0.2);  // in 5 ms, at 1 ms a row
  const auto [least, most] = std::ranges::minmax(grew);
  EXPECT_GT(least, 3000 / 4.3 / 4 * 0.9) << "as fast as with long steps";
  EXPECT_LE(most - least, 2U);
  simulation.ExpectTexts();
}

TEST_P(SchedulerTimeTest, PromptsGoOnBesideRowsThatFillAStep) {
  Simulation simulation(limits_, kCpu);
  AnswerAlone(simulation);
  for (int i = 0; i < 15; ++i) simulation.Ask("flood", 20, 8000);
  simulation.RunFor(std::chrono::seconds(5));
  simulation.Answer("honest", 20, 60);
  EXPECT_LT(simulation.Answer("flood", 1600, 1), 1000);  // 100 chunks of 16 at least
}

TEST_P(SchedulerTimeTest, StepsAreCutNoLongerWhenNobodyElseCame) {
  Simulation simulation(limits_, kCpu);
  AnswerAlone(simulation);
  for (int i = 0; i < 16; ++i) simulation.Ask("flood", 20, 12'000);
  simulation.RunFor(std::chrono::seconds(100));
  simulation.CountAnew();
  simulation.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(simulation.rows_a_step(), 16);
}

TEST_P(SchedulerTimeTest, ALongStreamKeepsHalfItsSpeedBesideAFlood) {
  Simulation simulation(limits_, kCpu);
  const double alone = AnswerAlone(simulation) / 60;
  for (int i = 0; i < 32; ++i) simulation.Ask("flood", 20, 8000);
  simulation.RunFor(std::chrono::seconds(5));
  simulation.Ask("honest", 20, 12'000);
  simulation.RunFor(std::chrono::seconds(10));  // what it is ahead by is spent
  for (int i = 0; i < 4; ++i) {
    const std::int64_t before = simulation.Tokens("honest");
    simulation.RunFor(std::chrono::seconds(1));
    EXPECT_GT(simulation.Tokens("honest") - before, 0.48 * 1000 / alone);
  }
}

TEST_P(SchedulerTimeTest, AFloodKeepsHalfOfItsTimeBesideOneLongStream) {
  Simulation simulation(limits_, kCpu);
  AnswerAlone(simulation);
  for (int i = 0; i < 32; ++i) simulation.Ask("flood", 20, 8000);
  simulation.RunFor(std::chrono::seconds(2));
  const std::int64_t start = simulation.Tokens("flood");
  simulation.RunFor(std::chrono::seconds(4));
  const std::int64_t alone = simulation.Tokens("flood") - start;
  simulation.Ask("honest", 20, 12'000);
  simulation.RunFor(std::chrono::seconds(10));
  const std::int64_t before = simulation.Tokens("flood");
  simulation.RunFor(std::chrono::seconds(4));
  EXPECT_GT(simulation.Tokens("flood") - before, alone * 45 / 100);
}

TEST_P(SchedulerTimeTest, StreamsOfOneWhoIsHeldBackGoOnAlike) {
  Simulation simulation(limits_, kCpu);
  AnswerAlone(simulation);
  for (int i = 0; i < 12; ++i) simulation.Ask("flood", 20, 4000);
  simulation.RunFor(std::chrono::seconds(3));
  simulation.Ask("honest", 20, 1500);
  const std::vector<std::size_t> grew = simulation.Growth("flood", std::chrono::seconds(2));
  const auto [least, most] = std::ranges::minmax(grew);
  EXPECT_GT(least, 5U) << "nobody starves";
  EXPECT_LE(most - least, 3U);
  simulation.ExpectTexts();
}

TEST_P(SchedulerTimeTest, LongPromptsOfOneDoNotHoldUpAnother) {
  Simulation simulation(limits_, kCpu);
  const double alone = AnswerAlone(simulation);
  for (int i = 0; i < 200; ++i) simulation.Ask("flood", 2000, 2);
  simulation.RunFor(std::chrono::seconds(5));
  for (int i = 0; i < 5; ++i) {
    EXPECT_LT(simulation.Answer("honest", 20, 60), 1.3 * alone + 8.5);  // a row and a chunk of 16
    simulation.RunFor(std::chrono::milliseconds(600));
  }
  const std::int64_t before = simulation.Tokens("flood");
  simulation.RunFor(std::chrono::seconds(5));
  EXPECT_GT(simulation.Tokens("flood"), before + 10) << "and come to their ends";
}

TEST_P(SchedulerTimeTest, NobodySitsOutWhereRowsAreNearlyFree) {
  Simulation simulation(limits_, kGpu);
  AnswerAlone(simulation);
  for (int i = 0; i < 15; ++i) simulation.Ask("flood", 20, 4000);
  simulation.RunFor(std::chrono::seconds(2));
  simulation.Ask("honest", 20, 4000);
  simulation.RunUntil([&] { return simulation.Tokens("honest") > 2; });
  simulation.CountAnew();
  simulation.RunFor(std::chrono::seconds(2));
  EXPECT_EQ(simulation.rows_a_step(), 16);
}

TEST_P(SchedulerTimeTest, OnePeerHasAllThereIs) {
  Simulation simulation(limits_, kCpu);
  simulation.Answer("one", 20, 60);
  for (int i = 0; i < 16; ++i) simulation.Ask("one", 20, 4000);
  simulation.RunFor(std::chrono::seconds(1));
  simulation.CountAnew();
  simulation.RunFor(std::chrono::seconds(1));
  EXPECT_EQ(simulation.rows_a_step(), 16);
}

TEST_P(SchedulerTimeTest, WhoDropsItsCallsAndComesAgainIsNoNewcomer) {
  Simulation simulation(limits_, kCpu);
  const double alone = AnswerAlone(simulation);
  for (int i = 0; i < 10; ++i) {
    const std::size_t first = simulation.asked().size();
    for (int stream = 0; stream < 15; ++stream) simulation.Ask("flood", 20, 3000);
    simulation.RunFor(std::chrono::milliseconds(300));
    for (std::size_t asked = first; asked < simulation.asked().size(); ++asked) {
      simulation.scheduler().End(simulation.asked()[asked].handle, EndReason::kCancelled);
    }
  }
  for (int stream = 0; stream < 15; ++stream) simulation.Ask("flood", 20, 3000);
  EXPECT_LT(simulation.Answer("honest", 20, 60), 1.3 * alone + 2 * 16.3);
}

}  // namespace
}  // namespace thinkwire::worker::engine
