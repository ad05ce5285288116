#include "worker/engine/step_cost.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>

namespace thinkwire::worker::engine {
namespace {

constexpr StepCost::Prices kCpu = {.base = 1e-3, .row = 5e-4, .input = 2e-4, .position = 1e-6};

Clock::Duration Takes(const StepCost::Prices& price, const StepWork& work, double times = 1) {
  const double seconds = price.base + price.row * static_cast<double>(work.rows) +
                         price.input * static_cast<double>(work.more_inputs) +
                         price.position * static_cast<double>(work.context);
  return std::chrono::duration_cast<Clock::Duration>(
      std::chrono::duration<double>(times * seconds));
}

// Decodes at any context, and now and then a chunk of a prompt.
StepWork AnyStep(std::mt19937& random) {
  const auto draw = [&random](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(random);
  };
  StepWork work;
  for (int rows = draw(1, 16); rows > 0; --rows) work += StepWork::OfRow(draw(0, 2000), 1);
  if (draw(0, 3) == 0) work += StepWork::OfRow(draw(0, 2000), draw(2, 400));
  return work;
}

void ExpectNear(const StepCost::Prices& prices, const StepCost::Prices& expected, double part) {
  EXPECT_NEAR(prices.base, expected.base, part * expected.base);
  EXPECT_NEAR(prices.row, expected.row, part * expected.row);
  EXPECT_NEAR(prices.input, expected.input, part * expected.input);
  EXPECT_NEAR(prices.position, expected.position, part * expected.position);
}

TEST(StepWorkTest, CountsWhatARowLooksBackAt) {
  EXPECT_EQ(StepWork::OfRow(7, 1).context, 7);
  const StepWork prompt = StepWork::OfRow(10, 3);  // 10 + 11 + 12
  EXPECT_EQ(prompt.rows, 1);
  EXPECT_EQ(prompt.more_inputs, 2);
  EXPECT_EQ(prompt.context, 33);
}

TEST(StepCostTest, SaysNothingBeforeItHasSeenSome) {
  StepCost cost;
  for (int i = 1; i < StepCost::kFirstKnown; ++i) {
    cost.Record(StepWork::OfRow(0, 1), std::chrono::milliseconds(1));
  }
  cost.Record(StepWork::OfRow(0, 1), Clock::Duration::zero());
  EXPECT_FALSE(cost.known());
  EXPECT_EQ(cost.base(), 0);
  cost.Record(StepWork::OfRow(0, 1), std::chrono::milliseconds(1));
  EXPECT_TRUE(cost.known());
  EXPECT_GT(cost.base(), 0);
}

TEST(StepCostTest, LearnsThePricesOfMixedSteps) {
  std::mt19937 random(1);
  StepCost cost;
  for (int i = 0; i < 1000; ++i) {
    const StepWork work = AnyStep(random);
    cost.Record(work, Takes(kCpu, work));
  }
  ExpectNear(cost.prices(), kCpu, 0.05);
}

TEST(StepCostTest, FollowsADeviceThatBecameSlower) {
  std::mt19937 random(2);
  StepCost cost;
  for (int i = 0; i < 12'000; ++i) {
    const StepWork work = AnyStep(random);
    cost.Record(work, Takes(kCpu, work, i < 1000 ? 1 : 3));
  }
  EXPECT_NEAR(cost.prices().row, 3 * kCpu.row, 0.1 * kCpu.row);
}

TEST(StepCostTest, AStepThatWasHeldUpChangesLittle) {
  std::mt19937 random(3);
  StepCost cost;
  for (int i = 0; i < 1000; ++i) {
    const StepWork work = AnyStep(random);
    cost.Record(work, Takes(kCpu, work, i % 50 == 49 ? 100 : 1));
  }
  StepWork decodes;
  for (int i = 0; i < 16; ++i) decodes += StepWork::OfRow(1000, 1);
  EXPECT_NEAR(cost.base(), kCpu.base, 0.4 * kCpu.base);
  EXPECT_NEAR(cost.Of(decodes), 16 * (kCpu.row + 1000 * kCpu.position), 3e-3);
}

// The engine took two results at once: the first seems to have taken all of the time.
TEST(StepCostTest, StepsThatWereCollectedLateCountInTheMean) {
  StepCost cost;
  for (int i = 0; i < 1000; ++i) {
    StepWork work;
    for (int rows = 0; rows <= i / 2 % 16; ++rows) work += StepWork::OfRow(100, 1);
    const double seconds = ToSeconds(Takes(kCpu, work));
    cost.Record(work, std::chrono::duration_cast<Clock::Duration>(
                          std::chrono::duration<double>(seconds * (i % 2 == 0 ? 1.99 : 0.01))));
  }
  EXPECT_NEAR(cost.base(), kCpu.base, 0.2 * kCpu.base);
  EXPECT_NEAR(cost.Of(StepWork::OfRow(100, 1)), kCpu.row + 100 * kCpu.position, 1e-4);
}

TEST(StepCostTest, RowsAreFreeUntilTheOppositeWasSeen) {
  StepCost cost;
  StepWork full;
  for (int i = 0; i < 16; ++i) full += StepWork::OfRow(100, 1);
  for (int i = 0; i < 500; ++i) cost.Record(full, std::chrono::milliseconds(9));
  EXPECT_NEAR(cost.base(), 9e-3, 1e-4);
  EXPECT_LT(cost.Of(full), 1e-4);
}

TEST(StepCostTest, RowsThatCostNothingStayFree) {
  std::mt19937 random(4);
  StepCost cost;
  for (int i = 0; i < 1000; ++i) cost.Record(AnyStep(random), std::chrono::milliseconds(5));
  EXPECT_NEAR(cost.base(), 5e-3, 1e-4);
  EXPECT_LT(cost.prices().row, 1e-5);
}

TEST(StepCostTest, RemembersShortStepsThroughManyFullOnes) {
  StepCost cost;
  const StepWork one = StepWork::OfRow(100, 1);
  StepWork full;
  for (int i = 0; i < 16; ++i) full += one;
  for (int i = 0; i < 100; ++i) cost.Record(one, Takes(kCpu, one));
  for (int i = 0; i < 100'000; ++i) cost.Record(full, Takes(kCpu, full));
  EXPECT_NEAR(cost.base() + cost.Of(one), ToSeconds(Takes(kCpu, one)), 1e-5);
  EXPECT_NEAR(cost.base() + cost.Of(full), ToSeconds(Takes(kCpu, full)), 1e-4);
}

}  // namespace
}  // namespace thinkwire::worker::engine
