#include "tests/bench/affinity_simulation.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace thinkwire::bench {
namespace {

AffinityOutcome Simulate(Routing routing, std::int32_t turns) {
  return SimulateAffinity({.routing = routing, .turns_per_s = 16, .turns = turns});
}

TEST(AffinitySimulation, ConversationsFindTheirBlocksAndNobodyTheBusyWorker) {
  const AffinityOutcome affinity = Simulate(Routing::kAffinity, 1'000);
  const AffinityOutcome spread = Simulate(Routing::kLeastLoaded, 1'000);
  const AffinityOutcome hashed = Simulate(Routing::kConsistent, 1'000);
  EXPECT_GT(affinity.returned, spread.returned + 0.2);
  EXPECT_LT(affinity.p99_s, spread.p99_s);
  EXPECT_LT(affinity.most_load, hashed.most_load);
}

TEST(AffinitySimulation, IsTheSameForTheSameSeed) {
  EXPECT_EQ(Simulate(Routing::kAffinity, 200).p99_s, Simulate(Routing::kAffinity, 200).p99_s);
}

}  // namespace
}  // namespace thinkwire::bench
