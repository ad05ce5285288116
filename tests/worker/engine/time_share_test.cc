#include "worker/engine/time_share.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace thinkwire::worker::engine {
namespace {

using std::chrono::milliseconds;

// Peers without a scheduler. Rows have no context, and cost what they are said to.
class TimeShareTest : public testing::Test {
 protected:
  // Steps of any number of rows are seen to take so long.
  void Learn(milliseconds base, milliseconds row) {
    for (int i = 0; i < 500; ++i) {
      const int rows = 1 + i % 16;
      share_.Record(Rows(rows), base + rows * row);
    }
  }
  static StepWork Rows(int rows) { return {.rows = rows, .more_inputs = 0, .context = 0}; }
  static TimeShare::Want Wants(Peer& peer, int rows) {
    return {.peer = &peer, .work = Rows(rows), .ready = true};
  }

  // One step: each peer has of its rows what it may; how many that was.
  std::vector<int> Step(const std::vector<TimeShare::Want>& wants) {
    share_.Divide(wants, false, now_);
    std::vector<int> had;
    for (const TimeShare::Want& want : wants) {
      int rows = 0;
      for (; rows < want.work.rows && share_.Affordable(*want.peer, 0, 1) == 1; ++rows) {
        share_.Charge(*want.peer, Rows(1));
      }
      had.push_back(rows);
    }
    share_.Commit();
    return had;
  }

  TimeShare share_;
  Clock::TimePoint now_{std::chrono::hours(1)};
  Peer light_;
  Peer flood_;
};

TEST_F(TimeShareTest, NobodyIsHeldBackBeforePricesAreKnown) {
  flood_.time = {.used = 9, .used_at = now_};
  EXPECT_EQ(Step({Wants(flood_, 15), Wants(light_, 1)}), (std::vector<int>{15, 1}));
}

TEST_F(TimeShareTest, NobodyIsHeldBackWhereRowsAreNearlyFree) {
  Learn(milliseconds(128), milliseconds(1));
  flood_.time = {.used = 9, .used_at = now_};
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(Step({Wants(flood_, 30), Wants(light_, 1)}), (std::vector<int>{30, 1}));
  }
}

TEST_F(TimeShareTest, WhatIsNotKnownYetIsNotTakenForLittle) {
  Learn(milliseconds(64), milliseconds(1));
  flood_.time = {.used = 9, .used_at = now_};
  const std::vector<TimeShare::Want> wants = {Wants(flood_, 10), Wants(light_, 1)};
  share_.Divide(wants, true, now_);
  EXPECT_EQ(share_.Affordable(flood_, 0, 1), 1);
  EXPECT_TRUE(share_.Holds(flood_));
  EXPECT_FALSE(share_.Holds(light_));
}

TEST_F(TimeShareTest, WhoHadMuchMoreAddsAQuarterOfAStepsBase) {
  Learn(milliseconds(3), milliseconds(1));
  flood_.time = {.used = 9, .used_at = now_};
  int flood = 0;
  for (int i = 0; i < 100; ++i) {
    const std::vector<int> had = Step({Wants(flood_, 15), Wants(light_, 1)});
    EXPECT_EQ(had[1], 1);
    flood += had[0];
  }
  EXPECT_NEAR(flood, 75, 2);  // kTrickle * 3 ms a step, at 1 ms a row
}

TEST_F(TimeShareTest, ThoseWhoHadMuchMoreAddNoMoreTogether) {
  Learn(milliseconds(3), milliseconds(1));
  std::vector<Peer> floods(4);
  std::vector<TimeShare::Want> wants = {Wants(light_, 1)};
  for (Peer& flood : floods) {
    flood.time = {.used = 2.4, .used_at = now_};
    wants.push_back(Wants(flood, 4));
  }
  int rows = 0;
  for (int i = 0; i < 100; ++i) {
    const std::vector<int> had = Step(wants);
    for (std::size_t peer = 1; peer < had.size(); ++peer) rows += had[peer];
  }
  EXPECT_NEAR(rows, 75, 5);
}

TEST_F(TimeShareTest, WhereRowsCostAllTheyAddASixteenthOfAStep) {
  Learn(milliseconds(0), milliseconds(4));
  flood_.time = {.used = 9, .used_at = now_};
  int flood = 0;
  for (int i = 0; i < 160; ++i) flood += Step({Wants(flood_, 15), Wants(light_, 1)})[0];
  EXPECT_NEAR(flood, 10, 1);
}

TEST_F(TimeShareTest, EqualsAddAsMuchAsTheFirstTakesAlone) {
  Learn(milliseconds(1), milliseconds(2));
  int beside = 0;
  for (int i = 0; i < 40; ++i) {
    const std::vector<int> had = Step({Wants(light_, 1), Wants(flood_, 2)});
    EXPECT_EQ(had[0], 1);
    beside += had[1];
  }
  EXPECT_NEAR(beside, 60, 2);  // 3 ms a step, at 2 ms a row
}

TEST_F(TimeShareTest, ANewcomerWhoWantsMuchDoesNotComeFirst) {
  Learn(milliseconds(3), milliseconds(1));
  light_.time = {.used = 0.8, .used_at = now_};
  EXPECT_EQ(Step({Wants(flood_, 15), Wants(light_, 1)}), (std::vector<int>{0, 1}));
  light_.time.used = 3;
  EXPECT_EQ(Step({Wants(flood_, 15), Wants(light_, 1)}), (std::vector<int>{15, 1}));
}

TEST_F(TimeShareTest, AShortQuestionIsOverBeforeANewcomerWhoWantsMuchIsItsEqual) {
  Learn(milliseconds(3), milliseconds(1));
  int flood = 0;
  for (int i = 0; i < 40; ++i) flood += Step({Wants(light_, 1), Wants(flood_, 15)})[1];
  EXPECT_NEAR(flood, 30, 2);  // as those who had more
  for (int i = 0; i < 60; ++i) Step({Wants(light_, 1), Wants(flood_, 15)});
  EXPECT_LT(flood_.time.counted(), light_.time.counted()) << "equal in the end";
}

TEST_F(TimeShareTest, WhoWantsMuchAndHadALittleMoreIsHeldBackAtOnce) {
  Learn(milliseconds(3), milliseconds(1));
  light_.time = {.used = 0.5, .used_at = now_};
  flood_.time = {.used = 0.6, .used_at = now_, .wants_much = true};
  EXPECT_EQ(Step({Wants(light_, 1), Wants(flood_, 15)}), (std::vector<int>{1, 0}));
}

TEST_F(TimeShareTest, NewcomersWhoWantMuchDoNotMakeGoodTheTimeBeforeThem) {
  Learn(milliseconds(3), milliseconds(1));
  light_.time = {.used = 0.9, .used_at = now_};
  std::vector<Peer> floods(4);
  std::vector<TimeShare::Want> wants = {Wants(light_, 1)};
  for (Peer& flood : floods) wants.push_back(Wants(flood, 15));
  Step(wants);
  const std::vector<TimeShare::Want> without = {wants.begin() + 1, wants.end()};
  for (int i = 0; i < 20; ++i) Step(without);
  int flooded = 0;
  for (int i = 0; i < 40; ++i) {
    const std::vector<int> had = Step(wants);
    EXPECT_EQ(had[0], 1);
    for (int f = 1; f <= 4; ++f) flooded += had[static_cast<std::size_t>(f)];
  }
  EXPECT_NEAR(flooded, 30, 4);  // together kTrickle * 3 ms a step, at 1 ms a row
}

TEST_F(TimeShareTest, WhoComesAgainHasForgoneNothing) {
  Learn(milliseconds(3), milliseconds(1));
  flood_.time = {.used = 0.9, .used_at = now_};
  Step({Wants(flood_, 1), Wants(light_, 15)});  // of equals, the light one wants more for once
  EXPECT_NEAR(light_.time.counted(), 0.9 + TimeShare::kSlack, 0.05);
  share_.Remember("light", light_.time);
  EXPECT_LT(share_.Recall("light").counted(), 0.1);
}

// Once not first among those who always want more, he would never be again: what he has no claim on
// would count as what he used.
TEST_F(TimeShareTest, WhoAsksNowAndThenStaysFasterThanThoseWhoAlwaysWantMore) {
  Learn(milliseconds(3), milliseconds(1));
  std::vector<Peer> floods(3);
  int beside = 0;
  for (int request = 0; request < 100; ++request) {
    light_.time = share_.Recall("light");
    for (int step = 0; step < 100; ++step) {
      std::vector<TimeShare::Want> wants;
      for (Peer& flood : floods) wants.push_back(Wants(flood, &flood == &floods[0] ? 1 : 5));
      const bool here = step < 10;
      if (here) wants.push_back(Wants(light_, step == 0 ? 2 : 1));
      int rows = 0;
      for (const int had : Step(wants)) rows += had;
      if (here && request >= 50) beside += rows - (step == 0 ? 2 : 1);
      now_ += milliseconds(3 + rows);
    }
    share_.Remember("light", light_.time);
  }
  EXPECT_LT(beside, 1.5 * 500);  // rows of others in his 500 steps; kTrickle makes it 500
}

TEST_F(TimeShareTest, AShortPromptIsNoLargeWant) {
  for (int i = 0; i < 1000; ++i) {
    const int inputs = (i * 37) % 100;
    share_.Record({.rows = 1 + i % 4, .more_inputs = inputs, .context = 0},
                  milliseconds(4 + i % 4 + inputs));
  }
  flood_.time = {.used = 0.5, .used_at = now_};
  const auto prompt = [this](std::int64_t inputs) -> TimeShare::Want {
    return {.peer = &light_, .work = {.rows = 1, .more_inputs = inputs}, .ready = true};
  };
  share_.Divide(std::vector<TimeShare::Want>{prompt(13), Wants(flood_, 2)}, false, now_);
  EXPECT_FALSE(share_.Holds(light_));
  share_.Divide(std::vector<TimeShare::Want>{prompt(99), Wants(flood_, 2)}, false, now_);
  EXPECT_TRUE(share_.Holds(light_));
}

TEST_F(TimeShareTest, ManyWhoWantLittleAreServedTogether) {
  Learn(milliseconds(3), milliseconds(1));
  std::vector<Peer> peers(10);
  std::vector<TimeShare::Want> wants;
  for (Peer& peer : peers) wants.push_back(Wants(peer, 1));
  for (int i = 0; i < 30; ++i) EXPECT_EQ(Step(wants), std::vector<int>(10, 1));
}

TEST_F(TimeShareTest, ThoseWhoAlwaysWantMoreGetEqualTimes) {
  Learn(milliseconds(3), milliseconds(1));
  double light = 0;
  double flood = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::vector<int> had = Step({Wants(light_, 1), Wants(flood_, 15)});
    EXPECT_GT(had[0] + had[1], 0);
    const bool light_pays = had[1] < 15;
    light += 1e-3 * had[0] + (light_pays ? 3e-3 : 0);
    flood += 1e-3 * had[1] + (light_pays ? 0 : 3e-3);
    now_ += milliseconds(3 + had[0] + had[1]);
  }
  EXPECT_NEAR(light / flood, 1, 0.15);
}

TEST_F(TimeShareTest, UseIsForgottenWithTime) {
  Learn(milliseconds(3), milliseconds(1));
  flood_.time = {.used = 9, .used_at = now_};
  now_ += std::chrono::minutes(1);
  Step({Wants(flood_, 15), Wants(light_, 1)});
  EXPECT_LT(flood_.time.used, 0.1);
}

TEST_F(TimeShareTest, WhoComesAgainIsNoNewcomer) {
  share_.Remember("flood", {.used = 5, .used_at = now_});
  share_.Remember("light", {.used = 0.001, .used_at = now_});
  EXPECT_EQ(share_.remembered(), 1U);
  EXPECT_EQ(share_.Recall("flood").used, 5);
  EXPECT_EQ(share_.Recall("flood").used, 0);
  EXPECT_EQ(share_.Recall("light").used, 0);
}

TEST_F(TimeShareTest, RemembersNoMoreThanItMay) {
  for (int i = 0; i < 5000; ++i) {
    share_.Remember(std::to_string(i), {.used = 0.1 + (i % 100), .used_at = now_});
  }
  share_.Remember("last", {.used = 1, .used_at = now_});
  EXPECT_EQ(share_.remembered(), TimeShare::kMaxRemembered);
  EXPECT_EQ(share_.Recall("last").used, 1);
  EXPECT_EQ(share_.Recall("0").used, 0) << "of least use";
}

TEST_F(TimeShareTest, OneWhoCanDoNothingIsNotWaitedFor) {
  Learn(milliseconds(3), milliseconds(1));
  flood_.time = {.used = 9, .used_at = now_};
  const std::vector<TimeShare::Want> wants = {Wants(light_, 1), Wants(flood_, 15)};
  share_.Divide(wants, false, now_);
  EXPECT_TRUE(share_.holds_back());
  share_.Charge(flood_, Rows(1));  // but the light one found no block
  share_.Commit();
  share_.Divide(wants, false, now_);
  EXPECT_EQ(share_.Affordable(flood_, 0, 1), 1);
  EXPECT_FALSE(share_.Holds(flood_)) << "first now";
}

TEST_F(TimeShareTest, APlanThatWasNotMadeSavesNothingUp) {
  Learn(milliseconds(3), milliseconds(1));
  flood_.time = {.used = 9, .used_at = now_};
  const std::vector<TimeShare::Want> wants = {Wants(light_, 1), Wants(flood_, 15)};
  for (int i = 0; i < 10; ++i) share_.Divide(wants, false, now_);
  EXPECT_LT(flood_.time.allowance, 1.1e-3);
}

TEST_F(TimeShareTest, LongPromptsAreCutToWhatIsAffordable) {
  for (int i = 0; i < 1000; ++i) {
    const int inputs = 1 + (i * 37) % 500;
    share_.Record({.rows = 1 + i % 4, .more_inputs = inputs, .context = 0},
                  milliseconds(4 + i % 4 + inputs));
  }
  flood_.time = {.used = 9, .used_at = now_};
  const std::vector<TimeShare::Want> wants = {
      Wants(light_, 1), {.peer = &flood_, .work = {.rows = 1, .more_inputs = 499}, .ready = true}};
  int steps = 0;
  std::int32_t count = 0;
  for (; count == 0 && steps < 100; ++steps) {
    share_.Divide(wants, false, now_);
    share_.Charge(light_, Rows(1));
    count = share_.Affordable(flood_, 0, 500);
    share_.Commit();
  }
  EXPECT_EQ(count, TimeShare::kLeastChunk);
  EXPECT_GT(steps, 8);  // 16 ms of work at a quarter of 5 ms a step
}

}  // namespace
}  // namespace thinkwire::worker::engine
