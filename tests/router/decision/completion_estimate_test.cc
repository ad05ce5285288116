#include "router/decision/completion_estimate.h"

#include <gtest/gtest.h>

#include <optional>

#include "tests/router/decision/family.h"

namespace thinkwire::router::decision {
namespace {

double Total(const WorkerView& worker,
             const ExpectedTokens& tokens = {.prompt = 1000, .output = 500}) {
  return EstimateCompletion(tokens, worker, PaceOf(worker)).total_s;
}

TEST(ExpectTokens, PromptByBytesAndOutputByTask) {
  const VariantView view = FreshView(KnownVariant("qwen-7b"));
  const ExpectedTokens math = ExpectTokens({.task = Task::kMath, .prompt_bytes = 400}, view);
  EXPECT_DOUBLE_EQ(math.prompt, 100);
  EXPECT_DOUBLE_EQ(math.output, 6300);
  EXPECT_DOUBLE_EQ(math.long_output, 16'000);
  EXPECT_DOUBLE_EQ(math.reasoning.p50, 6000);
  const ExpectedTokens guessed = ExpectTokens({.estimated_task = Task::kExtraction}, view);
  EXPECT_DOUBLE_EQ(guessed.output, 400);
}

TEST(ExpectTokens, WhoeverDoesNotThinkOrHasALimitTakesLess) {
  const VariantView view = FreshView(KnownVariant("qwen-7b"));
  EXPECT_DOUBLE_EQ(ExpectTokens({.task = Task::kMath, .thinks = false}, view).output, 300);
  EXPECT_DOUBLE_EQ(ExpectTokens({.task = Task::kMath, .thinks = false}, view).reasoning.p90, 0);
  const ExpectedTokens limited = ExpectTokens({.task = Task::kMath, .max_tokens = 1000}, view);
  EXPECT_DOUBLE_EQ(limited.output, 1000);
  EXPECT_DOUBLE_EQ(limited.long_output, 1000);
}

TEST(EstimateCompletion, IsPromptAtItsRateAndOutputAtItsPace) {
  WorkerView worker = IdleWorker(0);
  worker.seconds_per_token = 1.0 / 64;
  worker.prompt_tokens_per_s = 2000;
  EXPECT_DOUBLE_EQ(Total(worker), 0.5 + 500.0 / 64);
  EXPECT_DOUBLE_EQ(
      EstimateCompletion({.prompt = 1000, .output = 500}, worker, PaceOf(worker)).wait_s, 0);
}

TEST(EstimateCompletion, MoreToDoTakesLongerAndMoreThanThePlacesWaits) {
  WorkerView worker = IdleWorker(0);
  const double idle = Total(worker);
  worker.status->running = 8;
  const double half = Total(worker);
  EXPECT_GT(half, 1.4 * idle);
  worker.status->running = 16;
  const Completion full =
      EstimateCompletion({.prompt = 1000, .output = 500}, worker, PaceOf(worker));
  EXPECT_GT(full.wait_s, 0);
  worker.status->queued = 16;
  const Completion queued =
      EstimateCompletion({.prompt = 1000, .output = 500}, worker, PaceOf(worker));
  EXPECT_NEAR(queued.wait_s / full.wait_s, 17, 1e-9);
}

TEST(EstimateCompletion, SeveralOutputsTakeSeveralPlaces) {
  const VariantView view = FreshView(KnownVariant("qwen-7b"));
  const ExpectedTokens three =
      ExpectTokens({.prompt_bytes = 400, .outputs = 3, .max_tokens = 50.0}, view);
  EXPECT_DOUBLE_EQ(three.all(three.output), 100 + 3 * 50);
  WorkerView worker = IdleWorker(0);
  worker.status->running = 14;
  ExpectedTokens tokens{.prompt = 1000, .output = 500};
  const auto wait = [&] { return EstimateCompletion(tokens, worker, PaceOf(worker)).wait_s; };
  EXPECT_DOUBLE_EQ(wait(), 0);
  tokens.places = 3;
  EXPECT_GT(wait(), 0) << "of sixteen places two are free";
}

TEST(EstimateCompletion, LeasesCountWhereTheStatusDoesNotTellOfThem) {
  WorkerView worker = IdleWorker(0);
  worker.status->running = 3;
  worker.leased = 2;
  EXPECT_EQ(Load(worker), 3);
  worker.leased = 5;
  EXPECT_EQ(Load(worker), 5);
}

TEST(EstimateCompletion, SeveralOutputsWaitUntilTheLastHasAPlace) {
  WorkerView worker = IdleWorker(0);
  const auto with = [&](double places) {
    return EstimateCompletion({.prompt = 1000, .output = 500, .places = places}, worker,
                              PaceOf(worker));
  };
  const double all = worker.status->max_num_seqs;
  EXPECT_EQ(with(all).wait_s, 0);
  EXPECT_GT(with(all).output_s, with(1).output_s) << "they slow each other down";
  worker.leased = worker.status->max_num_seqs;
  EXPECT_NEAR(with(4).wait_s, 4 * with(4).place_s, 1e-9);
}

TEST(EstimateCompletion, APaceThatIsBetterByNoiseIsWorthOneRequest) {
  WorkerView a = IdleWorker(0);
  WorkerView b = IdleWorker(0);
  b.seconds_per_token = a.seconds_per_token * 1.05;
  EXPECT_LT(Total(a), Total(b));
  a.status->running = 1;
  EXPECT_GT(Total(a), Total(b));
}

TEST(EstimateCompletion, OldStatusesCountForLess) {
  WorkerView worker = IdleWorker(0);
  const double fresh = Total(worker);
  worker.silent_s = kFreshSeconds;
  EXPECT_EQ(Total(worker), fresh);
  worker.silent_s = kFreshSeconds + 2;
  EXPECT_NEAR(Total(worker), 1.2 * fresh, 1e-9);
}

TEST(BusyShare, IsOfThoseThatHavePlaces) {
  EXPECT_EQ(BusyShare(1, 16), 0);
  EXPECT_EQ(BusyShare(9, 16), 0.5);
  EXPECT_EQ(BusyShare(40, 16), BusyShare(16, 16)) << "the others wait";
  EXPECT_EQ(BusyShare(5, 1), 0);
  EXPECT_EQ(BusyShare(0, 16), 0);
}

TEST(PatienceOf, IsWhatThreeOfFourNeed) {
  EXPECT_DOUBLE_EQ(PatienceOf({.output = 500, .long_output = 500}), kLeastPatience);
  // As DeepSeek-R1's public service: of outputs like these 75 % were below twice the median.
  EXPECT_NEAR(PatienceOf({.output = 792, .long_output = 3432}), 2.16, 0.01);
  EXPECT_DOUBLE_EQ(PatienceOf({}), kLeastPatience);
}

// A worker of four places, each of whose streams takes as many times as long as there are: 10 s.
class LimitBesideTest : public testing::Test {
 protected:
  LimitBesideTest() {
    worker_.prompt_tokens_per_s = 1e9;
    worker_.status->max_num_seqs = 4;
    SetGrowth(4);
  }
  void SetGrowth(double growth) {
    worker_.crowding = {};
    for (int i = 0; i < 100; ++i) {
      const double busy = i % 4 / 4.0;
      worker_.crowding.Learn(busy, 0.02 * (1 + growth * busy), 4);
    }
  }
  Decision Limit(const Query& query, double places = 1) const {
    Decision decision;
    LimitBeside(query, {.output = 500, .long_output = 500, .places = places}, worker_, decision);
    return decision;
  }
  std::optional<double> Most(double deadline_s, double places = 1) const {
    return Limit({.deadline_s = deadline_s}, places).most_beside;
  }

  WorkerView worker_ = IdleWorker(0);
};

TEST_F(LimitBesideTest, TheyAreSoManyThatItIsInTimeAfterAWaitForOne) {
  // With three others 40 s, of which 1.5 times are to be left, and 10 s for the wait.
  EXPECT_EQ(Most(71), std::nullopt) << "beside all";
  EXPECT_EQ(Most(69), 2);
  EXPECT_EQ(Most(41), 1);
  EXPECT_EQ(Most(39), 0);
  EXPECT_EQ(Most(11), 0) << "late, if it takes longer than half do: but never beside others";
  EXPECT_EQ(Most(9), std::nullopt) << "late alone";
}

// As counted down from all places, for a worker of many.
TEST_F(LimitBesideTest, TheyAreTheMostThatLeaveItInTimeHoweverManyThereAre) {
  constexpr int kPlaces = 1024;
  worker_.status->max_num_seqs = kPlaces;
  worker_.prompt_tokens_per_s = 100;  // so that fewer streams may mean a longer wait for one
  const ExpectedTokens tokens{.prompt = 5000, .output = 500, .long_output = 500};
  int limited = 0;
  for (const double growth : {1.0, 4.0, 100.0}) {
    worker_.crowding = {};
    for (int i = 0; i < 100; ++i)
      worker_.crowding.Learn(i % 4 / 4.0, 1 + growth * (i % 4), kPlaces);
    const auto service = [&](int streams) {
      return 50 + 500 * worker_.crowding.alone_s() *
                      worker_.crowding.Slowdown(BusyShare(streams, kPlaces));
    };
    for (double deadline_s = service(1); deadline_s < 2 * service(kPlaces); deadline_s *= 1.003) {
      Decision decision;
      LimitBeside({.deadline_s = deadline_s}, tokens, worker_, decision);
      if (!decision.most_beside || decision.patience != kLeastPatience) continue;
      int streams = kPlaces;
      while (service(streams) / streams + kLeastPatience * service(streams) > deadline_s) --streams;
      EXPECT_EQ(*decision.most_beside, streams - 1) << deadline_s << " s, growth " << growth;
      ++limited;
    }
  }
  EXPECT_GT(limited, 100);
}

TEST_F(LimitBesideTest, OutputsOfItsOwnAreNoOthers) {
  EXPECT_EQ(Most(69, 2), 1);
  EXPECT_EQ(Most(41, 2), 0);
}

TEST_F(LimitBesideTest, ThereIsLessHasteWhereTheWorkerDoesAsMuchWithFewer) {
  EXPECT_EQ(Limit({.deadline_s = 41.0}).patience, kLeastPatience);
  EXPECT_EQ(Limit({.deadline_s = 24.0}).patience, kHaste) << "no time for a wait";
  SetGrowth(1);
  // Four take 17.5 s, three 15 s, which are 0.88 times as many a second.
  EXPECT_EQ(Most(31), std::nullopt);
  const Decision hasty = Limit({.deadline_s = 30.0});
  EXPECT_EQ(hasty.most_beside, 3) << "so that nobody waits at the worker";
  EXPECT_EQ(hasty.patience, kHaste);
  EXPECT_EQ(Most(20), 1);
}

TEST_F(LimitBesideTest, ItsServiceIsBesideThose) {
  const Decision limited = Limit({.deadline_s = 41.0});
  EXPECT_NEAR(limited.service_s, 20, 0.5);
  EXPECT_EQ(limited.ahead_s, 0);
  Decision free = Limit({.deadline_s = 100.0});
  EXPECT_NEAR(free.service_s, 10, 0.5) << "nobody is there";
  worker_.leased = 2;
  worker_.others = 7;
  free = Limit({.deadline_s = 100.0});
  EXPECT_NEAR(free.service_s, 40, 0.5) << "all places are taken";
  EXPECT_NEAR(free.ahead_s, 10, 0.5) << "one is before it at the worker";
}

TEST_F(LimitBesideTest, WhatItHasWaitedIsOfItsTime) {
  EXPECT_EQ(Limit({.deadline_s = 31.0, .waited_s = 10}).most_beside, 1);
  EXPECT_EQ(Limit({.waited_s = 10}).most_beside, std::nullopt) << "it has no deadline";
}

TEST_F(LimitBesideTest, WhoThinksAsLongAsItMayHasNone) {
  const Query query{.deadline_s = 41.0, .hurries = true};
  EXPECT_EQ(Limit(query).most_beside, std::nullopt);
  EXPECT_EQ(LongestWait(query, Limit(query)), 41);
}

TEST_F(LimitBesideTest, NobodyKnowsHowLongItTakesAloneWhereAllMetOthers) {
  worker_.crowding = {};
  for (int i = 0; i < 100; ++i) worker_.crowding.Learn(0.75, 0.035, 4);
  EXPECT_EQ(Most(9), 0) << "17.5 s beside three others may be 4.4 s alone";
  EXPECT_EQ(Most(4), std::nullopt);
  worker_.crowding = {};
  EXPECT_EQ(Most(9), std::nullopt) << "its pace is not known";
}

TEST(LongestWait, LeavesPatienceTimesWhatHalfOfThemTake) {
  Decision decision;
  EXPECT_EQ(LongestWait({.deadline_s = 10.0}, decision), 10) << "the pace is not known";
  decision.service_s = 3;
  EXPECT_EQ(LongestWait({.deadline_s = 10.0}, decision), 4);
  EXPECT_EQ(LongestWait({.deadline_s = 5.0}, decision), -1) << "it may not wait at all";
  decision.patience = 3;
  EXPECT_EQ(LongestWait({.deadline_s = 10.0}, decision), 1);
  decision.ahead_s = 0.5;
  EXPECT_EQ(LongestWait({.deadline_s = 10.0}, decision), 0.5) << "it waits at the worker too";
  EXPECT_EQ(LongestWait({}, decision), std::nullopt);
}

TEST(ChanceInTime, IsAHalfAtTheExpectedTimeAndNineTenthsAtTheLongOne) {
  const ExpectedTokens tokens{.prompt = 1000, .output = 500, .long_output = 1500};
  const Completion completion = EstimateCompletion(tokens, IdleWorker(0), PaceOf(IdleWorker(0)));
  EXPECT_NEAR(ChanceInTime(tokens, completion, completion.total_s), 0.5, 1e-9);
  EXPECT_NEAR(ChanceInTime(tokens, completion, completion.total_s + 2 * completion.output_s), 0.9,
              1e-9);
  EXPECT_EQ(ChanceInTime(tokens, completion, 0.1), 0);  // the prompt alone takes longer
  EXPECT_EQ(ChanceInTime({}, {}, 1), 1);
}

TEST(EstimateCompletion, AWorkerThatWasNeverSeenHasAPaceToo) {
  WorkerView worker = IdleWorker(0);
  worker.seconds_per_token = 0;
  worker.prompt_tokens_per_s = 0;
  EXPECT_GT(Total(worker), 5);
  EXPECT_LT(Total(worker), 20);
}

}  // namespace
}  // namespace thinkwire::router::decision
