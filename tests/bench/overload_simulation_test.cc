#include "tests/bench/overload_simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>

namespace thinkwire::bench {
namespace {

TenantOutcome Steady(const OverloadLoad& load) { return SimulateOverload(load).steady; }

double ShareOf(std::int64_t part, const TenantOutcome& outcome) {
  return static_cast<double>(part) / static_cast<double>(outcome.arrived);
}

TEST(OverloadSimulation, IsTheSameForTheSameSeed) {
  const OverloadLoad load = {.load = 2, .seconds = 200};
  const TenantOutcome first = Steady(load);
  EXPECT_EQ(first.p99_s, Steady(load).p99_s);
  OverloadLoad other = load;
  other.seed = 2;
  EXPECT_NE(first.p99_s, Steady(other).p99_s);
}

TEST(OverloadSimulation, GoodputAtThreeTimesTheCapacityIsNearItsPeak) {
  double peak = 0;
  for (const double load : {0.5, 1.0, 1.5, 2.0}) {
    peak = std::max(peak, Steady({.load = load}).goodput_per_s);
  }
  const TenantOutcome overloaded = Steady({.load = 3});
  EXPECT_GT(overloaded.goodput_per_s, 0.9 * peak);
  EXPECT_GT(peak, 0.95 * CapacityPerSecond());
}

TEST(OverloadSimulation, NobodyWaitsForARefusal) {
  for (const double load : {3.0, 4.0, 8.0}) {
    EXPECT_LT(Steady({.load = load}).refusal_p99_s, 0.05) << load;
  }
  EXPECT_LT(Steady({.load = 0.8, .crowd = 5}).refusal_p99_s, 0.05) << "a flash crowd";
}

// One worker and clients that come again. Of its step for one row so much is the row's: 0.8 is a
// CPU. The deadline is three times what a request takes alone.
OverloadLoad Clients(std::int32_t places, double of_row, std::size_t clients, double noise = 0) {
  constexpr double kStep = 5e-4;
  OverloadLoad load = {.seconds = 200,
                       .clients = clients,
                       .max_tokens = 512,
                       .workers = 1,
                       .speed = {.places = places,
                                 .step_s = (1 - of_row) * kStep,
                                 .input_s = of_row * kStep,
                                 .tick_s = 5e-3,
                                 .noise = noise}};
  load.deadline_s = 3 * load.max_tokens * kStep;
  return load;
}

// Where all places together would make everybody late, and where they would not.
TEST(OverloadSimulation, GoodputOfClientsThatComeAgainStaysNearItsPeak) {
  for (const std::int32_t places : {1, 4, 16}) {
    for (const double of_row : {0.8, 0.5, 0.2}) {
      double peak = 0;
      double overloaded = 1e9;
      for (const std::size_t clients : {1, 2, 4, 8, 12, 16, 32}) {
        const TenantOutcome outcome = Steady(Clients(places, of_row, clients));
        peak = std::max(peak, outcome.goodput_per_s);
        if (clients >= 12) overloaded = std::min(overloaded, outcome.goodput_per_s);
      }
      EXPECT_GT(overloaded, (places < 16 ? 0.9 : 0.85) * peak) << places << " places, " << of_row;
    }
  }
}

TEST(OverloadSimulation, FewOfThemAreLateOnAMachineThatOthersUseToo) {
  for (const std::int32_t places : {1, 4}) {
    const TenantOutcome outcome = Steady(Clients(places, 0.8, 32, 0.3));
    EXPECT_LT(static_cast<double>(outcome.late), 0.1 * static_cast<double>(outcome.in_time));
  }
}

TEST(OverloadSimulation, RefusedClientsComeAsOftenAsPlacesGetFree) {
  const TenantOutcome outcome = Steady(Clients(4, 0.8, 32));
  EXPECT_LT(static_cast<double>(outcome.refused), 2.0 * static_cast<double>(outcome.in_time));
}

// What nobody refuses in time waits for its deadline.
TEST(OverloadSimulation, FewerAreLateThanWhereTheyWaitAtWorkers) {
  const TenantOutcome router = Steady({.load = 1.5});
  const TenantOutcome workers = Steady({.load = 1.5, .waits_in_router = false});
  EXPECT_LT(ShareOf(router.late, router), 0.5 * ShareOf(workers.late, workers));
  EXPECT_LT(router.median_s, workers.median_s);
}

TEST(OverloadSimulation, LoadIsBalanced) {
  EXPECT_LT(SimulateOverload({.load = 0.5}).most_load, 1.25);
  EXPECT_LT(SimulateOverload({.load = 1}).most_load, 1.1);
}

TEST(OverloadSimulation, AFlashCrowdIsForgottenSoon) {
  const OverloadOutcome crowd = SimulateOverload({.load = 0.8, .crowd = 5});
  EXPECT_GT(crowd.last_in_time, 0.95);
  EXPECT_GT(crowd.steady.goodput_per_s, 0.8 * CapacityPerSecond());
}

TEST(OverloadSimulation, OldWordsOfWorkersCostLittle) {
  for (const double load : {1.0, 3.0}) {
    const double fresh = Steady({.load = load}).goodput_per_s;
    EXPECT_GT(Steady({.load = load, .report_s = 3}).goodput_per_s, 0.95 * fresh) << load;
  }
}

TEST(OverloadSimulation, WhereOutputsAreLongerThanExpectedFewerAreLateOnceThatIsLearnt) {
  const TenantOutcome learns = Steady({.load = 0.5, .longer = 4});
  const TenantOutcome expects = Steady({.load = 0.5, .longer = 4, .learns = false});
  EXPECT_LT(learns.late, 0.95 * static_cast<double>(expects.late));
  EXPECT_GE(learns.in_time, expects.in_time);
}

TEST(OverloadSimulation, ATenantThatFloodsTakesNoMoreThanItsShare) {
  const TenantOutcome alone = Steady({.load = 0.3});
  const TenantOutcome beside = Steady({.load = 0.3, .flood = 5});
  EXPECT_LT(beside.p99_s, 2 * alone.p99_s);
  EXPECT_GT(ShareOf(beside.in_time, beside), ShareOf(alone.in_time, alone) - 0.05);
}

}  // namespace
}  // namespace thinkwire::bench
