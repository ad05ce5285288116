#include "tests/bench/prefill_simulation.h"

#include <gtest/gtest.h>

#include "worker/engine/prefill_order.h"

namespace thinkwire::bench {
namespace {

constexpr std::int32_t kPatience = worker::engine::PrefillOrder::kPatience;

TEST(PrefillSimulation, ShortPromptsGainAndLongOnesLoseLittle) {
  const PrefillOutcome fcfs = SimulatePrefills({.load = 0.8, .patience = 0, .requests = 2'000});
  const PrefillOutcome aged =
      SimulatePrefills({.load = 0.8, .patience = kPatience, .requests = 2'000});
  EXPECT_GT(aged.in_time, fcfs.in_time);
  EXPECT_LT(aged.short_prompts.median, fcfs.short_prompts.median / 4);
  EXPECT_LT(aged.long_prompts.median, fcfs.long_prompts.median * 3);
}

TEST(PrefillSimulation, IsTheSameForTheSameSeed) {
  const PrefillLoad load{.load = 0.5, .patience = kPatience, .requests = 1'000};
  EXPECT_EQ(SimulatePrefills(load).longest, SimulatePrefills(load).longest);
}

}  // namespace
}  // namespace thinkwire::bench
