#include "tests/router/decision/fleet_simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "tests/router/decision/family.h"

namespace thinkwire::router::decision {
namespace {

std::vector<SimulatedWorker> Equal(std::size_t count, double seconds_per_token = 0.02) {
  return std::vector<SimulatedWorker>(count, {.seconds_per_token = seconds_per_token});
}

// Lengths spread log-normally, as published traces of reasoning are.
class Source {
 public:
  explicit Source(std::uint64_t seed) : random_(seed) {}

  SimulatedRequest Next(Task task, double median) {
    std::lognormal_distribution<double> length(std::log(median), 0.8);
    return {.query = {.task = task, .prompt_bytes = 800},
            .reasoning_tokens = length(random_),
            .answer_tokens = 300};
  }
  double Gap(double per_second) {
    return std::exponential_distribution<double>(per_second)(random_);
  }

 private:
  std::mt19937_64 random_;
};

double Quantile(std::vector<double> values, double q) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(q * (std::ssize(values) - 1.0));
  std::ranges::nth_element(values, at);
  return *at;
}

std::vector<double> Totals(const FleetSimulation& simulation) {
  std::vector<double> totals;
  for (const Outcome& outcome : simulation.outcomes()) totals.push_back(outcome.total_s);
  return totals;
}

double InTime(std::span<const Outcome> outcomes) {
  return static_cast<double>(std::ranges::count_if(outcomes, &Outcome::in_time)) /
         static_cast<double>(outcomes.size());
}

TEST(FleetSimulation, EqualWorkersGetEqualShares) {
  FleetSimulation simulation({.variants = {KnownVariant("qwen-7b")}, .workers = Equal(8)});
  Source source(1);
  for (int i = 0; i < 2000; ++i) {
    simulation.Arrive(source.Next(Task::kGeneral, 750));
    simulation.Advance(source.Gap(2.5));
  }
  simulation.Finish();
  const auto given = simulation.given();
  EXPECT_LT(*std::ranges::max_element(given), 1.1 * 2000 / 8);
  EXPECT_GT(*std::ranges::min_element(given), 0.9 * 2000 / 8);
}

TEST(FleetSimulation, ABurstBetweenTwoReportsIsSpreadEvenly) {
  FleetSimulation simulation(
      {.variants = {KnownVariant("qwen-7b")}, .workers = Equal(10), .report_s = 1e9});
  Source source(2);
  for (int i = 0; i < 200; ++i) simulation.Arrive(source.Next(Task::kCode, 3000));
  for (const std::int64_t given : simulation.given()) EXPECT_EQ(given, 20);
}

TEST(FleetSimulation, FasterWorkersGetMoreAndEverybodyIsThroughSooner) {
  std::vector<SimulatedWorker> workers = Equal(4, 0.04);
  for (std::size_t i = 0; i < 2; ++i) workers[i].seconds_per_token = 0.01;
  FleetSimulation simulation({.variants = {KnownVariant("qwen-7b")}, .workers = workers});
  Source source(3);
  for (int i = 0; i < 2000; ++i) {
    simulation.Arrive(source.Next(Task::kGeneral, 750));
    simulation.Advance(source.Gap(1.5));
  }
  simulation.Finish();
  const auto given = simulation.given();
  EXPECT_GT(given[0] + given[1], 2 * (given[2] + given[3]));
  EXPECT_GT(given[2] + given[3], 0);  // a share goes on to be measured
}

// A flash crowd of five times the load for two minutes: the answers after it are as soon as before.
TEST(FleetSimulation, RecoversFromAFlashCrowd) {
  FleetSimulation simulation({.variants = {KnownVariant("qwen-7b")}, .workers = Equal(8)});
  Source source(4);
  const auto run = [&](double per_second, double seconds) {
    for (const double end_s = simulation.now_s() + seconds; simulation.now_s() < end_s;) {
      simulation.Arrive(source.Next(Task::kGeneral, 750));
      simulation.Advance(source.Gap(per_second));
    }
  };
  run(1.5, 600);
  run(7.5, 120);
  run(1.5, 1800);
  simulation.Finish();
  std::vector<double> before;
  std::vector<double> after;
  for (const Outcome& outcome : simulation.outcomes()) {
    if (outcome.arrival_s < 500) before.push_back(outcome.total_s);
    if (outcome.arrival_s > 1500) after.push_back(outcome.total_s);
  }
  EXPECT_LT(Quantile(after, 0.9), 1.3 * Quantile(before, 0.9));
}

// Where the model thinks four times as long as configured, deadlines are missed until that is
// learnt and shorter thinkers are taken.
TEST(FleetSimulation, LearnsHowLongAVariantThinks) {
  const auto run = [](bool learns) {
    FleetSimulation simulation(
        {.variants = {KnownVariant("qwen-1.5b"), KnownVariant("qwen-14b")},
         .workers = {{.variant = 0, .seconds_per_token = 0.005, .places = 64},
                     {.variant = 1, .seconds_per_token = 0.02, .places = 64}},
         .learns = learns});
    Source source(5);
    for (int i = 0; i < 1500; ++i) {
      SimulatedRequest request = source.Next(Task::kCode, 12'000);
      request.query.deadline_s = 240;
      simulation.Arrive(request);
      simulation.Advance(source.Gap(0.2));
    }
    simulation.Finish();
    const auto& outcomes = simulation.outcomes();
    return InTime(std::span(outcomes).subspan(500));
  };
  const double fixed = run(false);
  const double learnt = run(true);
  EXPECT_GT(learnt, 0.9);
  EXPECT_GT(learnt, fixed + 0.2);
}

// Choosing among variants solves more problems in time than either variant alone, which is too slow
// or too weak.
TEST(FleetSimulation, MoreIsSolvedInTimeThanByAnyOneVariant) {
  std::vector<VariantConfig> variants{KnownVariant("qwen-1.5b"), KnownVariant("qwen-32b")};
  for (VariantConfig& variant : variants) variant.traits.cost_per_million = 0;
  const auto solved = [&](const std::string& named) {
    FleetSimulation simulation(
        {.variants = variants,
         .workers = {{.variant = 0, .seconds_per_token = 0.003, .places = 32},
                     {.variant = 1, .seconds_per_token = 0.02, .places = 32}}});
    Source source(6);
    std::mt19937_64 random(6);
    double expected = 0;
    for (int i = 0; i < 2000; ++i) {
      SimulatedRequest request =
          random() % 4 == 0 ? source.Next(Task::kMath, 6000) : source.Next(Task::kExtraction, 100);
      request.query.variant = named;
      request.query.deadline_s = 240;
      simulation.Arrive(request);
      simulation.Advance(source.Gap(0.6));
    }
    simulation.Finish();
    for (const Outcome& outcome : simulation.outcomes()) {
      if (outcome.in_time) expected += variants[outcome.variant].traits.quality[outcome.task];
    }
    return expected / 2000;
  };
  const double chosen = solved("");
  EXPECT_GT(chosen, 1.05 * solved("qwen-1.5b"));
  EXPECT_GT(chosen, 1.05 * solved("qwen-32b"));
}

// Statuses that are seconds old change little: what this router has sent it knows itself.
TEST(FleetSimulation, OldStatusesCostLittle) {
  const auto p99 = [](double report_s) {
    FleetSimulation simulation(
        {.variants = {KnownVariant("qwen-7b")}, .workers = Equal(8), .report_s = report_s});
    Source source(7);
    for (int i = 0; i < 3000; ++i) {
      simulation.Arrive(source.Next(Task::kGeneral, 750));
      simulation.Advance(source.Gap(3));
    }
    simulation.Finish();
    return Quantile(Totals(simulation), 0.99);
  };
  EXPECT_LT(p99(3), 1.2 * p99(0.1));
}

}  // namespace
}  // namespace thinkwire::router::decision
