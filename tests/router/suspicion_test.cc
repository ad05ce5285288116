#include "router/suspicion.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/peer_limits.h"

namespace thinkwire::router {
namespace {

using std::chrono::seconds;

constexpr Clock::TimePoint kStart{std::chrono::hours(1)};

// A loss of the stream after so many seconds, at that worker.
Suspicion::Loss Own(std::size_t worker, int at_s, bool alone, std::int64_t tokens = 100) {
  return {.worker = worker, .at = kStart + seconds(at_s), .tokens = tokens, .alone = alone};
}
// What the pool saw of a worker.
fleet::Loss Seen(std::size_t worker, int at_s) {
  return {.worker = worker, .at = kStart + seconds(at_s)};
}

struct Case {
  const char* name;
  std::vector<Suspicion::Loss> losses;  // each but the last is no reason yet to end it
  fleet::Losses fleet;
  bool is_poison;
};

class SuspicionTest : public testing::TestWithParam<Case> {};

TEST_P(SuspicionTest, EndsWhatItsWorkersWereLostOfAndNobodyElse) {
  Suspicion suspicion;
  for (std::size_t i = 0; i < GetParam().losses.size(); ++i) {
    EXPECT_FALSE(suspicion.is_poison()) << i << " losses";
    suspicion.Add(GetParam().losses[i], GetParam().fleet);
  }
  EXPECT_EQ(suspicion.is_poison(), GetParam().is_poison);
}

// Of workers 0 to 9 the first are its own, and those that were lost without it the last.
const fleet::Losses kQuiet{.workers = 10};
fleet::Losses Disaster(std::size_t workers, std::vector<fleet::Loss> lost) {
  return {.workers = workers, .lost = std::move(lost)};
}

INSTANTIATE_TEST_SUITE_P(
    Cases, SuspicionTest,
    testing::Values(
        Case{"NoneAtOnce", {Own(0, 0, true)}, kQuiet, false},
        Case{"TwoAlone", {Own(0, 0, true), Own(1, 9, true)}, kQuiet, true},
        Case{"TwoAloneAtOneThatCameBack", {Own(0, 0, true), Own(0, 9, true)}, {.workers = 1}, true},
        Case{"TwoAmongMany", {Own(0, 0, false), Own(1, 9, false)}, kQuiet, false},
        Case{"OnceAmongMany", {Own(0, 0, false), Own(1, 9, true)}, kQuiet, false},
        Case{
            "ThreeAmongMany", {Own(0, 0, false), Own(1, 9, false), Own(2, 18, true)}, kQuiet, true},
        Case{"ItsOwnLossesAreNoDisaster",
             {Own(0, 0, true), Own(1, 9, true)},
             Disaster(3, {Seen(0, 4), Seen(1, 12)}),
             true},
        Case{"OneOtherIsNoDisaster",
             {Own(0, 0, true), Own(1, 9, true)},
             Disaster(3, {Seen(0, 0), Seen(2, 5), Seen(1, 9)}),
             true},
        Case{"LessThanHalfAreNoDisaster",
             {Own(0, 0, true), Own(1, 9, true)},
             Disaster(7, {Seen(5, 1), Seen(6, 2), Seen(4, 3)}),
             true},
        Case{"HalfAreADisaster",
             {Own(0, 0, true), Own(1, 9, true)},
             Disaster(6, {Seen(5, 1), Seen(4, 2), Seen(3, 3)}),
             false},
        Case{"ADisasterJustBefore",
             {Own(0, 0, true), Own(1, 9, true)},
             Disaster(4, {Seen(2, -9), Seen(3, -9)}),
             false},
        Case{"ADisasterLongAgo",
             {Own(0, 0, true), Own(1, 9, true)},
             Disaster(4, {Seen(2, -11), Seen(3, -11)}),
             true},
        Case{"WhatWasItsOwnIsLostAgainWithoutIt",
             {Own(0, 0, false), Own(1, 9, false), Own(2, 18, false)},
             Disaster(3, {Seen(0, 0), Seen(1, 9), Seen(0, 9), Seen(2, 18), Seen(1, 18)}),
             false},
        Case{"SixInADisaster",
             {Own(0, 0, true), Own(1, 4, true), Own(0, 8, true), Own(1, 12, true), Own(0, 16, true),
              Own(1, 20, true)},
             Disaster(4, {Seen(2, 1), Seen(3, 1)}),
             true}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Suspicion, WhoCameFurtherIsNoMoreSuspectThanAnyOther) {
  Suspicion suspicion;
  for (int i = 0; i < 20; ++i) {
    suspicion.Add(Own(i, i, true, i * kPoisonTokens), kQuiet);
    EXPECT_FALSE(suspicion.is_suspect()) << i;
    EXPECT_FALSE(suspicion.is_poison()) << i;
  }
  suspicion.Add(Own(20, 20, true, 20 * kPoisonTokens - 1), kQuiet);
  EXPECT_TRUE(suspicion.is_suspect());
  EXPECT_TRUE(suspicion.is_poison());
  suspicion.Clear();
  EXPECT_FALSE(suspicion.is_suspect());
}

TEST(Suspicion, WhoIsSuspectSparesTheLastWorkerButInADisaster) {
  Suspicion suspicion;
  suspicion.Add(Own(0, 0, false), kQuiet);
  EXPECT_FALSE(suspicion.spares_the_last());
  suspicion.Add(Own(1, 1, false), kQuiet);
  EXPECT_TRUE(suspicion.spares_the_last());
  suspicion.Add(Own(0, 2, false), Disaster(4, {Seen(2, 1), Seen(3, 1)}));
  EXPECT_FALSE(suspicion.spares_the_last());
}

}  // namespace
}  // namespace thinkwire::router
