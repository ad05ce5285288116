#include "router/fleet/roster.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::fleet {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Indices = std::vector<std::size_t>;

// Workers of one variant, which all speak at first.
class RosterTest : public testing::Test {
 protected:
  void Add(int number) {
    for (int i = 0; i < number; ++i) {
      Say(roster_.Add(0, absl::StrCat("10.0.0.", i, ":50061"), clock_.Now()));
    }
    ASSERT_EQ(Live(), number);
  }
  bool Say(std::size_t worker, double without_progress_s = 0) {
    return roster_.Hear(worker,
                        decision::WorkerStatus{.served_model_name = "qwen-7b",
                                               .fingerprint = "fake",
                                               .max_model_len = 4096,
                                               .without_progress_s = without_progress_s},
                        clock_.Now());
  }
  void SayAll() {
    for (std::size_t i = 0; i < roster_.size(); ++i) Say(i);
  }
  bool Fail(std::size_t worker, WorkerTrust::Failure failure = WorkerTrust::Failure::kOrdinary) {
    clock_.Advance(milliseconds(1));
    return roster_.Fail(worker, failure, clock_.Now(), clock_.Now());
  }
  void Eject(std::size_t worker) { EXPECT_TRUE(Fail(worker, WorkerTrust::Failure::kHung)); }

  int Live() const { return roster_.Describe(0).live; }
  int Out() const { return roster_.Describe(0).out; }
  bool IsLive(std::size_t worker) const { return roster_.views()[worker].live(); }
  std::string WhyNot(std::size_t worker) const { return roster_.views()[worker].why_not; }
  Indices Due() const { return roster_.DueProbes(clock_.Now()); }

  FakeClock clock_;
  Roster roster_{{{.name = "qwen-7b"}}};
};

TEST_F(RosterTest, FailuresInARowEject) {
  Add(2);
  for (int i = 1; i < kFailuresToEject; ++i) EXPECT_FALSE(Fail(0)) << i;
  EXPECT_TRUE(IsLive(0));
  EXPECT_TRUE(Fail(0));
  EXPECT_FALSE(IsLive(0));
  EXPECT_EQ(Out(), 1);
  EXPECT_EQ(WhyNot(0), "it has failed, and has not proved yet that it is well again");
  EXPECT_EQ(WhyNot(1), "");
}

TEST_F(RosterTest, SuccessesBetweenKeepItIn) {
  Add(2);
  for (int i = 0; i < 10 * kFailuresToEject; ++i) {
    EXPECT_FALSE(Fail(0));
    roster_.Succeed(0);
  }
  EXPECT_EQ(Live(), 2);
}

TEST_F(RosterTest, AtMostHalfAreEjected) {
  Add(5);
  Eject(0);
  Eject(1);
  EXPECT_FALSE(Fail(2, WorkerTrust::Failure::kHung));
  EXPECT_EQ(Live(), 3);
  EXPECT_EQ(Out(), 2);
}

TEST_F(RosterTest, TheOnlyOneIsNeverEjected) {
  Add(1);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(Fail(0, WorkerTrust::Failure::kHung));
  EXPECT_EQ(Live(), 1);
}

TEST_F(RosterTest, TheLastThatSpeaksIsNeverEjected) {
  Add(2);
  roster_.Lose(1, "it cannot be reached");
  EXPECT_FALSE(Fail(0, WorkerTrust::Failure::kHung));
  EXPECT_EQ(Live(), 1);
}

TEST_F(RosterTest, AnEjectedOneIsBackWhereNoneIsLeft) {
  Add(2);
  Eject(0);
  EXPECT_TRUE(roster_.Lose(1, "it cannot be reached"));
  EXPECT_TRUE(IsLive(0));
  EXPECT_FALSE(IsLive(1));
  EXPECT_EQ(WhyNot(0), "");
  // With another there it is one like all.
  Say(1);
  EXPECT_EQ(Live(), 2);
}

TEST_F(RosterTest, AnEjectedOneIsBackOnceAProbeIsAnswered) {
  Add(2);
  Eject(0);
  EXPECT_EQ(Due(), Indices{});
  clock_.Advance(kEjection);
  SayAll();
  EXPECT_EQ(Due(), Indices{0});
  EXPECT_FALSE(roster_.EndProbe(0, absl::UnavailableError("lost"), clock_.Now()));
  EXPECT_FALSE(IsLive(0));
  EXPECT_EQ(Due(), Indices{}) << "not before twice the time is over";
  clock_.Advance(2 * kEjection);
  SayAll();
  EXPECT_EQ(Due(), Indices{0});
  EXPECT_TRUE(roster_.EndProbe(0, absl::OkStatus(), clock_.Now()));
  EXPECT_TRUE(IsLive(0));
  EXPECT_EQ(Due(), Indices{});
}

TEST_F(RosterTest, WhoseRanksStandStillIsOutBeforeFiveSeconds) {
  Add(2);
  // Statuses come each second; the hang began with the first of them.
  Clock::Duration hang{};
  for (int s = 1; s <= 3; ++s, clock_.Advance(seconds(1)), hang += seconds(1)) {
    Say(0, ToSeconds(hang));
    EXPECT_FALSE(roster_.Look(clock_.Now()));
    EXPECT_TRUE(IsLive(0)) << s;
  }
  Say(0, ToSeconds(hang));
  bool is_out = false;
  while (!is_out) {
    clock_.Advance(milliseconds(50));
    hang += milliseconds(50);
    is_out = roster_.Look(clock_.Now());
  }
  EXPECT_GT(hang, kMaxStall);
  EXPECT_LT(hang, seconds(5));
  EXPECT_EQ(WhyNot(0), "its ranks make no progress");
  EXPECT_EQ(roster_.Stalled(), Indices{0});
  EXPECT_EQ(Due(), Indices{}) << "it is known that it would not answer";
}

TEST_F(RosterTest, AWorkerThatMovesOnOrIdlesIsNotStalled) {
  Add(2);
  clock_.Advance(seconds(2));
  Say(0, 1.9);
  Say(1, 0);
  clock_.Advance(2 * kMaxStall);
  EXPECT_FALSE(IsLive(0) && roster_.Look(clock_.Now()) && !IsLive(1));
  EXPECT_TRUE(IsLive(1)) << "of an idle one nothing is assumed";
}

TEST_F(RosterTest, WhoMovesOnAgainHasToProveItEvenIfItIsTheOnlyOne) {
  Add(1);
  EXPECT_TRUE(Say(0, 60));
  EXPECT_EQ(Live(), 0);
  EXPECT_EQ(roster_.Stalled(), Indices{}) << "nobody could go on with its streams";
  EXPECT_FALSE(Say(0));
  EXPECT_EQ(Live(), 0);
  EXPECT_EQ(Due(), Indices{0});
  Say(0, 60);
  EXPECT_FALSE(roster_.EndProbe(0, absl::OkStatus(), clock_.Now())) << "it stands still again";
  clock_.Advance(kEjection);
  Say(0);
  EXPECT_EQ(Due(), Indices{0});
  EXPECT_TRUE(roster_.EndProbe(0, absl::OkStatus(), clock_.Now()));
  EXPECT_EQ(Live(), 1);
}

TEST_F(RosterTest, WhoFellSilentHasToProveItselfAndWhoWasLostHasNot) {
  Add(2);
  EXPECT_TRUE(roster_.FallSilent(0, clock_.Now()));
  EXPECT_EQ(WhyNot(0), "it is silent");
  EXPECT_TRUE(roster_.Lose(1, "it cannot be reached"));
  EXPECT_FALSE(Say(0));
  EXPECT_TRUE(Say(1));
  EXPECT_EQ(Due(), Indices{0});
  EXPECT_TRUE(roster_.EndProbe(0, absl::OkStatus(), clock_.Now()));
  EXPECT_EQ(Live(), 2);
}

TEST_F(RosterTest, NoProbeGoesToWhoDoesNotSpeakOrDrains) {
  Add(2);
  Eject(0);
  clock_.Advance(kEjection);
  roster_.Lose(0, "it cannot be reached");
  EXPECT_EQ(Due(), Indices{});
  roster_.Hear(0, decision::WorkerStatus{.served_model_name = "qwen-7b", .draining = true},
               clock_.Now());
  EXPECT_EQ(Due(), Indices{});
  Say(0);
  EXPECT_EQ(Due(), Indices{0});
}

TEST_F(RosterTest, WhoIsRemovedGivesItsIndexOnceItHasNoRequest) {
  Add(2);
  roster_.Give(0);
  EXPECT_TRUE(roster_.Remove(0));
  EXPECT_EQ(roster_.Describe(0).configured, 1);
  EXPECT_EQ(WhyNot(0), "it is not configured any more");
  EXPECT_EQ(roster_.Add(0, "10.0.0.9:50061", clock_.Now()), 2U);
  roster_.TakeBack(0, 1, false);
  roster_.Free(0);
  EXPECT_EQ(roster_.Describe(0).configured, 2);
  EXPECT_EQ(roster_.Add(0, "10.0.0.8:50061", clock_.Now()), 0U);
  EXPECT_EQ(roster_.views()[0].given, 0);
}

TEST_F(RosterTest, NobodysIndexIsNoWorker) {
  Add(2);
  roster_.Remove(0);
  roster_.Free(0);
  decision::Query query;
  EXPECT_EQ(roster_.PassOver(query, clock_.Now()), 0U);
  EXPECT_EQ(query.tried, Indices{});
  EXPECT_EQ(Due(), Indices{});
  EXPECT_EQ(roster_.Stalled(), Indices{});
  EXPECT_FALSE(roster_.Look(clock_.Now()));
  EXPECT_EQ(Live(), 1);
}

TEST_F(RosterTest, AWorkerHasPlacesAndAFewToKeepItBusy) {
  roster_.Add(0, "10.0.0.1:50061", clock_.Now());
  const auto say = [&](std::int32_t running) {
    roster_.Hear(0,
                 decision::WorkerStatus{
                     .served_model_name = "qwen-7b", .running = running, .max_num_seqs = 8},
                 clock_.Now());
  };
  say(0);
  for (int i = 0; i < 8 + LookAhead(8); ++i) {
    EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0)) << i;
    roster_.Give(0);
  }
  EXPECT_FALSE(roster_.HasPlace(0, Room::kOrdinary, 0));
  EXPECT_TRUE(roster_.HasPlace(0, Room::kFirst, 0));
  EXPECT_FALSE(roster_.HasPlace(0, Room::kNone, 0));
  for (int i = 0; i < 8; ++i) roster_.Give(0);
  EXPECT_FALSE(roster_.HasPlace(0, Room::kFirst, 0));
  EXPECT_TRUE(roster_.HasPlace(0, Room::kFirst, 1)) << "one will be put off";
  EXPECT_FALSE(roster_.HasPlace(0, Room::kOrdinary, 8));
  for (int i = 0; i < 8; ++i) roster_.TakeBack(0, 1, true);
  say(8);
  roster_.TakeBack(0, 1, true);
  EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0)) << "before the worker's next word";
}

TEST_F(RosterTest, WhoMayHaveFewBesideHasNoPlaceAtAWorkerWithMore) {
  Add(1);
  EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0, 0));
  roster_.Give(0, 3);
  roster_.Hear(0, decision::WorkerStatus{.served_model_name = "qwen-7b", .max_num_seqs = 8},
               clock_.Now());
  EXPECT_FALSE(roster_.HasPlace(0, Room::kOrdinary, 0, 2));
  EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0, 3));
  EXPECT_FALSE(roster_.HasPlace(0, Room::kFirst, 0, 2));
  EXPECT_TRUE(roster_.HasPlace(0, Room::kFirst, 1, 2)) << "one will be put off";
  decision::Query query;
  roster_.KeepPlaces(0, Room::kOrdinary, 0, 3, query);
  EXPECT_EQ(query.tried, Indices{});
  roster_.KeepPlaces(0, Room::kOrdinary, 0, 2, query);
  EXPECT_EQ(query.tried, Indices{0});
}

TEST_F(RosterTest, RemembersForAMinuteWhoWasLost) {
  Add(4);
  EXPECT_FALSE(roster_.Look(clock_.Now()));
  EXPECT_EQ(roster_.LossesOf(0).workers, 4U);
  const Clock::TimePoint lost_at = clock_.Now();
  roster_.Lose(0, "it cannot be reached");
  roster_.FallSilent(1, lost_at);
  roster_.Remove(2);
  roster_.Hear(3, decision::WorkerStatus{.served_model_name = "qwen-7b", .draining = true},
               lost_at);
  EXPECT_FALSE(roster_.Look(lost_at));
  EXPECT_FALSE(roster_.Look(lost_at + seconds(1)));
  const Losses losses = roster_.LossesOf(0);
  EXPECT_EQ(losses.workers, 2U) << "drained or removed is not lost";
  ASSERT_EQ(losses.lost.size(), 2U);
  EXPECT_EQ(losses.lost[0].worker, 0U);
  EXPECT_EQ(losses.lost[1].worker, 1U);
  EXPECT_EQ(losses.lost[1].at, lost_at);
  roster_.Look(lost_at + kLossesKept + milliseconds(1));
  EXPECT_TRUE(roster_.LossesOf(0).lost.empty());
}

TEST_F(RosterTest, KnowsHowManyWereThereWhenTheyWereLost) {
  Add(1);
  const Clock::TimePoint given = clock_.Now();
  for (int i = 0; i < 3; ++i) {
    roster_.Give(0);
    roster_.Begin(0);
  }
  roster_.Give(0);  // which it has not begun with
  clock_.Advance(seconds(1));
  for (int i = 3; i > 0; --i) {
    roster_.Fail(0, WorkerTrust::Failure::kOrdinary, given, clock_.Now());
    EXPECT_EQ(roster_.LostTogether(0), 3) << i << " are left";
    roster_.TakeBack(0, 1, true);
  }
}

TEST_F(RosterTest, ARequestOfSeveralOutputsTakesAsManyPlacesUntilTheyEnd) {
  roster_.Add(0, "10.0.0.1:50061", clock_.Now());
  roster_.Hear(0, decision::WorkerStatus{.served_model_name = "qwen-7b", .max_num_seqs = 8},
               clock_.Now());
  roster_.Give(0, 8 + LookAhead(8));
  EXPECT_FALSE(roster_.HasPlace(0, Room::kOrdinary, 0)) << "before the worker's next word";
  EXPECT_EQ(roster_.views()[0].given, 1);
  roster_.EndOutput(0);
  EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0));
  roster_.TakeBack(0, 8 + LookAhead(8) - 1, true);
  EXPECT_EQ(roster_.views()[0].leased, 0);
}

TEST_F(RosterTest, WhoeverIsParkedThereTakesNoPlace) {
  roster_.Add(0, "10.0.0.1:50061", clock_.Now());
  const auto say = [&](std::int32_t running, std::int32_t parked) {
    roster_.Hear(0,
                 decision::WorkerStatus{.served_model_name = "qwen-7b",
                                        .running = running,
                                        .parked = parked,
                                        .max_num_seqs = 8},
                 clock_.Now());
  };
  say(0, 0);
  for (int i = 0; i < 8 + LookAhead(8); ++i) roster_.Give(0);
  say(8, 3);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0)) << i;
    roster_.Give(0);
  }
  EXPECT_FALSE(roster_.HasPlace(0, Room::kOrdinary, 0)) << "the third is another router's";
}

// A worker tells what it had before it heard of them: those of a client that asks and cancels a
// thousand times a second are nobody else's.
TEST_F(RosterTest, WhatHasJustEndedIsNotTakenForOthers) {
  roster_.Add(0, "10.0.0.1:50061", clock_.Now());
  const auto say_all_run = [&] {
    roster_.Hear(0,
                 decision::WorkerStatus{
                     .served_model_name = "qwen-7b", .queued = 22, .running = 8, .max_num_seqs = 8},
                 clock_.Now());
  };
  roster_.Give(0, 30);
  roster_.TakeBack(0, 28, true);
  say_all_run();
  EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0));
  say_all_run();
  EXPECT_FALSE(roster_.HasPlace(0, Room::kOrdinary, 0)) << "it says so still";
}

TEST_F(RosterTest, KnowsOfVariantsThatCameLaterWhetherTheyWereLive) {
  roster_.Reconfigure({{.name = "qwen-7b"}, {.name = "qwen-14b"}});
  roster_.Add(1, "10.0.0.1:50061", clock_.Now());
  EXPECT_FALSE(roster_.WasLiveLately("qwen-14b", clock_.Now()));
  roster_.Hear(0, decision::WorkerStatus{.served_model_name = "qwen-14b"}, clock_.Now());
  roster_.Look(clock_.Now());
  EXPECT_TRUE(roster_.WasLiveLately("qwen-14b", clock_.Now()));
  EXPECT_FALSE(roster_.WasLiveLately("qwen-7b", clock_.Now()));
}

TEST_F(RosterTest, WhatOthersHaveThereCountsButLeavesAFewPlaces) {
  roster_.Add(0, "10.0.0.1:50061", clock_.Now());
  roster_.Give(0);
  roster_.Hear(0,
               decision::WorkerStatus{
                   .served_model_name = "qwen-7b", .queued = 50, .running = 8, .max_num_seqs = 8},
               clock_.Now());
  EXPECT_TRUE(roster_.HasPlace(0, Room::kOrdinary, 0));
  roster_.Give(0);
  EXPECT_FALSE(roster_.HasPlace(0, Room::kOrdinary, 0));
  EXPECT_FALSE(roster_.HasPlace(0, Room::kFirst, 0));
}

}  // namespace
}  // namespace thinkwire::router::fleet
