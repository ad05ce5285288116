#include "router/admission/dispatch_queue.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "router/admission/dispatch_pace.h"
#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::admission {
namespace {

using fleet::Room;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Outcome = DispatchQueue::Entered::Outcome;

constexpr char kVariant[] = "qwen-7b";
constexpr std::int64_t kPlaces = 64;

// Places that a test has free, and who took one.
struct Places {
  int free = 0;
  std::vector<int> taken{};
};

class TestWaiter final : public DispatchQueue::Waiter {
 public:
  TestWaiter(DispatchQueue& queue, Places& places, int name)
      : queue_(queue), places_(places), name_(name) {}

  bool Dispatch() override {
    if (places_.free == 0) return false;
    --places_.free;
    places_.taken.push_back(name_);
    running = queue_.Go(ticket);
    return true;
  }
  void TellPlace(const DispatchQueue::Place& place) override { told.push_back(place.position); }
  void TellSilence() override { ++silences; }
  void SendAway() override { sent_away = true; }

  DispatchQueue::Ticket ticket;
  DispatchQueue::Running running;
  std::vector<std::size_t> told;
  int silences = 0;
  bool sent_away = false;

 private:
  DispatchQueue& queue_;
  Places& places_;
  const int name_;
};

class DispatchQueueTest : public testing::Test {
 protected:
  std::shared_ptr<TestWaiter> Enter(const std::string& tenant = "a",
                                    const DispatchQueue::Terms& terms = {}) {
    return Enter(FairQueue::Request{.tenant = tenant}, terms);
  }
  std::shared_ptr<TestWaiter> Enter(const FairQueue::Request& request,
                                    const DispatchQueue::Terms& terms = {}) {
    auto waiter = std::make_shared<TestWaiter>(queue_, places_, next_name_++);
    auto entered = queue_.Enter(kVariant, request, terms, waiter);
    outcome_ = entered.outcome;
    place_ = entered.place;
    waiter->ticket = std::move(entered.ticket);
    return waiter;
  }
  void Free(int places) {
    places_.free += places;
    queue_.Look(kVariant);
    queue_.Tick();
  }

  FakeClock clock_;
  DispatchQueue queue_{clock_};
  Places places_;
  int next_name_ = 0;
  Outcome outcome_ = Outcome::kWaits;
  DispatchQueue::Place place_;
};

TEST_F(DispatchQueueTest, WhoWaitsGoesAsPlacesGetFree) {
  const std::vector waiters = {Enter(), Enter(), Enter()};
  queue_.Tick();
  EXPECT_TRUE(places_.taken.empty());
  Free(2);
  EXPECT_EQ(places_.taken, (std::vector{0, 1}));
  EXPECT_EQ(queue_.NumWaiting(kVariant), 1U);
  Free(5);
  EXPECT_EQ(places_.taken, (std::vector{0, 1, 2}));
  EXPECT_EQ(queue_.NumWaiting(kVariant), 0U);
}

TEST_F(DispatchQueueTest, APlaceThatBecameFreeWhileItEnteredIsNotMissed) {
  places_.free = 1;
  const auto waiter = Enter();
  queue_.Tick();
  EXPECT_EQ(places_.taken.size(), 1U);
}

TEST_F(DispatchQueueTest, WhoLeavesOrIsGoneIsPassedOver) {
  auto left = Enter();
  auto gone = Enter();
  const auto stays = Enter();
  left->ticket.Leave();
  gone->ticket = {};
  gone.reset();
  EXPECT_EQ(queue_.NumWaiting(kVariant), 1U);
  Free(3);
  EXPECT_EQ(places_.taken, (std::vector{2}));
}

TEST_F(DispatchQueueTest, PlacesAreToldAsTheyChangeEveryHalfSecond) {
  const auto first = Enter();
  const auto second = Enter();
  const auto third = Enter();
  EXPECT_EQ(place_.position, 2U);
  queue_.Tick();
  Free(1);
  EXPECT_TRUE(second->told.empty());
  clock_.Advance(DispatchQueue::kTellInterval);
  queue_.Tick();
  EXPECT_EQ(second->told, (std::vector<std::size_t>{0}));
  EXPECT_EQ(third->told, (std::vector<std::size_t>{1}));
  clock_.Advance(DispatchQueue::kTellInterval);
  queue_.Tick();
  EXPECT_EQ(second->told.size(), 1U) << "its place is the same";
}

TEST_F(DispatchQueueTest, WhoAsksForItIsToldThatItsPlaceIsTheSame) {
  const auto first = Enter();
  const auto second = Enter("a", {.tells_silence = true});
  queue_.Tick();
  EXPECT_EQ(second->silences, 1);
  queue_.Tick();
  EXPECT_EQ(second->silences, 1) << "too soon";
  clock_.Advance(DispatchQueue::kTellInterval);
  queue_.Tick();
  EXPECT_EQ(second->silences, 2);
  EXPECT_TRUE(second->told.empty());
  Free(1);
  clock_.Advance(DispatchQueue::kTellInterval);
  queue_.Tick();
  EXPECT_EQ(second->silences, 2) << "its place has changed";
  EXPECT_EQ(second->told, (std::vector<std::size_t>{0}));
  EXPECT_EQ(first->silences, 0);
}

TEST_F(DispatchQueueTest, WhatNoEventTellsOfIsLookedForEveryHalfSecond) {
  const auto waiter = Enter();
  queue_.Tick();
  queue_.Tick();
  places_.free = 1;  // and nobody says so
  queue_.Tick();
  EXPECT_TRUE(places_.taken.empty());
  clock_.Advance(DispatchQueue::kTellInterval);
  queue_.Tick();
  queue_.Tick();
  EXPECT_EQ(places_.taken.size(), 1U);
}

TEST_F(DispatchQueueTest, CloseSendsAllAwayAndLaterOnesToo) {
  const auto before = Enter();
  queue_.Close();
  queue_.Tick();
  EXPECT_TRUE(before->sent_away);
  const auto after = Enter();
  queue_.Tick();
  EXPECT_TRUE(after->sent_away);
  EXPECT_EQ(queue_.NumWaiting(kVariant), 0U);
}

TEST_F(DispatchQueueTest, WhoWouldComeTooLateIsRefusedByWhatIsExpected) {
  const auto first = Enter("a", {.expected_pace_s = 2, .longest_wait_s = 2.5});
  EXPECT_EQ(outcome_, Outcome::kWaits);
  EXPECT_EQ(place_.wait_s, 2);
  Enter("a", {.expected_pace_s = 2, .longest_wait_s = 2.5});
  EXPECT_EQ(outcome_, Outcome::kTooLate);
  EXPECT_EQ(place_.wait_s, 4);
  Enter("a", {.expected_pace_s = 2, .longest_wait_s = 4.2});
  EXPECT_EQ(outcome_, Outcome::kTooLate) << "it has less than a tenth to spare";
  const auto second = Enter("a", {.expected_pace_s = 2, .longest_wait_s = 4.6});
  EXPECT_EQ(outcome_, Outcome::kWaits);
  EXPECT_EQ(queue_.NumWaiting(kVariant), 2U);
}

TEST_F(DispatchQueueTest, WhoIsRefusedComesAgainBehindWhoWasRefusedBefore) {
  const auto first = Enter("a", {.expected_pace_s = 2});
  EXPECT_EQ(queue_.ComeAgain(kVariant, 5), seconds(5));
  EXPECT_EQ(queue_.ComeAgain(kVariant, 5), seconds(7)) << "a place gets free every two seconds";
  EXPECT_EQ(queue_.ComeAgain(kVariant, 1), seconds(9));
  EXPECT_EQ(queue_.ComeAgain(kVariant, 20), seconds(20));
  clock_.Advance(seconds(10));
  EXPECT_EQ(queue_.ComeAgain(kVariant, 1), seconds(12));
  clock_.Advance(seconds(30));
  EXPECT_EQ(queue_.ComeAgain(kVariant, 0.01), DispatchQueue::kSoonestReturn);
  EXPECT_EQ(queue_.ComeAgain("another", 3), seconds(3));
}

TEST_F(DispatchQueueTest, NobodyIsToldToStayAwayForLong) {
  const auto first = Enter("a", {.expected_pace_s = 25});
  EXPECT_EQ(queue_.ComeAgain(kVariant, 1e9), DispatchQueue::kLatestReturn);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(queue_.ComeAgain(kVariant, 0), DispatchQueue::kLatestReturn);
  }
}

TEST_F(DispatchQueueTest, WhoeverComesIsTakenWhileNoPaceIsKnown) {
  const auto waiter = Enter("a", {.longest_wait_s = 0.001});
  EXPECT_EQ(outcome_, Outcome::kWaits);
  EXPECT_FALSE(place_.wait_s);
}

TEST_F(DispatchQueueTest, WhatWasSeenCountsMoreThanWhatIsExpected) {
  std::vector<std::shared_ptr<TestWaiter>> waiters;
  for (int i = 0; i < 20; ++i) waiters.push_back(Enter("a", {.expected_pace_s = 100}));
  for (int i = 0; i < 10; ++i) {
    clock_.Advance(milliseconds(500));
    Free(1);
  }
  waiters.push_back(Enter("a", {.expected_pace_s = 100}));
  EXPECT_EQ(place_.position, 10U);
  EXPECT_NEAR(place_.wait_s.value_or(0), 11 * 0.5, 0.1);
}

TEST_F(DispatchQueueTest, ATenantHasItsShareOfThePlaces) {
  std::vector<std::shared_ptr<TestWaiter>> waiters;
  while (outcome_ == Outcome::kWaits) waiters.push_back(Enter());
  EXPECT_EQ(outcome_, Outcome::kFull);
  EXPECT_LT(queue_.NumWaiting(kVariant), static_cast<std::size_t>(kMaxWaiting));
  waiters.push_back(Enter("b"));
  EXPECT_EQ(outcome_, Outcome::kWaits);
  for (int i = 0; i < 20; ++i) waiters[i]->ticket.Leave();
  waiters.push_back(Enter());
  EXPECT_EQ(outcome_, Outcome::kWaits) << "the place of who leaves is free";
}

TEST_F(DispatchQueueTest, WhoHasNothingThereGoesBeforeThoseWhoWait) {
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "a", kPlaces), Room::kFirst);
  auto running = queue_.BeginAtOnce(kVariant, {.tenant = "a"});
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "a", kPlaces), Room::kOrdinary);
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "a", kPlaces), Room::kOrdinary);
  const auto waiter = Enter();
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "a", kPlaces), Room::kNone);
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "b", kPlaces), Room::kFirst);
  EXPECT_EQ(queue_.RoomOfNew("another", "a", kPlaces), Room::kFirst);
  running = {};
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "a", kPlaces), Room::kNone) << "its own wait";
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "a", kPlaces), Room::kFirst);
}

TEST_F(DispatchQueueTest, WhoHasFewerThanTheMeanByWeightGoesBeforeThoseWhoWait) {
  std::vector<DispatchQueue::Running> running;
  for (int i = 0; i < 6; ++i) running.push_back(queue_.BeginAtOnce(kVariant, {.tenant = "a"}));
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "a", kPlaces), Room::kOrdinary) << "it is the mean";
  const auto waiter = Enter();
  const FairQueue::Request of_b = {.tenant = "b", .weight = 2};
  // Of twice the weight, so that its part is twice the other's.
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(queue_.RoomOfNew(kVariant, "b", kPlaces), Room::kFirst) << i;
    EXPECT_EQ(queue_.RoomAtTurn(kVariant, "b", kPlaces), Room::kFirst) << i;
    running.push_back(queue_.BeginAtOnce(kVariant, of_b));
  }
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "b", kPlaces), Room::kNone);
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "b", kPlaces), Room::kOrdinary);
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "a", kPlaces), Room::kOrdinary);
  running.pop_back();
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "b", kPlaces), Room::kFirst);
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "a", kPlaces), Room::kOrdinary);
}

TEST_F(DispatchQueueTest, NobodyIsBehindWhoHasItsShareOfThePlaces) {
  std::vector<DispatchQueue::Running> running;
  for (int i = 0; i < 12; ++i) running.push_back(queue_.BeginAtOnce(kVariant, {.tenant = "a"}));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(queue_.RoomOfNew(kVariant, "b", 8), Room::kFirst) << i;
    running.push_back(queue_.BeginAtOnce(kVariant, {.tenant = "b"}));
  }
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "b", 8), Room::kOrdinary) << "half of eight";
  EXPECT_EQ(queue_.RoomOfNew(kVariant, "b", 10), Room::kFirst);
}

TEST_F(DispatchQueueTest, WhatTenantsHaveBeyondTheirSharesIsSurplus) {
  EXPECT_EQ(queue_.SurplusAt(kVariant, 8), 0);
  std::vector<DispatchQueue::Running> running;
  const auto begin = [&](const std::string& tenant, double weight, int count) {
    for (int i = 0; i < count; ++i) {
      running.push_back(queue_.BeginAtOnce(kVariant, {.tenant = tenant, .weight = weight}));
    }
  };
  begin("a", 1, 7);
  EXPECT_EQ(queue_.SurplusAt(kVariant, 8), 0);
  EXPECT_EQ(queue_.SurplusAt(kVariant, 4), 3);
  begin("b", 3, 7);
  EXPECT_EQ(queue_.SurplusAt(kVariant, 8), 5 + 1) << "two and six";
  EXPECT_EQ(queue_.SurplusAt(kVariant, 1), 6 + 6) << "one place is anybody's share";
  running.clear();
  running.push_back(queue_.BeginAtOnce(kVariant, {.tenant = "a", .outputs = 12}));
  EXPECT_EQ(queue_.SurplusAt(kVariant, 8), 4) << "each output takes a place";
}

TEST_F(DispatchQueueTest, WhoIsBehindPassesOneWhoIsNotAndFindsNoPlace) {
  const auto running = queue_.BeginAtOnce(kVariant, {.tenant = "a"});
  Places nothing;
  auto first = std::make_shared<TestWaiter>(queue_, nothing, 100);
  first->ticket = std::move(queue_.Enter(kVariant, {.tenant = "a"}, {}, first).ticket);
  const auto other = Enter("b");
  Free(1);
  EXPECT_EQ(places_.taken, std::vector{0});
  EXPECT_EQ(queue_.NumWaiting(kVariant), 1U);
  EXPECT_EQ(queue_.RoomAtTurn(kVariant, "a", kPlaces), Room::kOrdinary);
}

// "b" has less than the mean of what runs, but more than its part of the places: as "a" it finds
// none, and must not keep who has nothing from being asked.
TEST_F(DispatchQueueTest, WhoIsBehindPassesAllWhoAreNot) {
  ASSERT_EQ(queue_.RoomOfNew(kVariant, "a", 8), Room::kFirst);
  const auto of_a = queue_.BeginAtOnce(kVariant, {.tenant = "a", .outputs = 20});
  const auto of_b = queue_.BeginAtOnce(kVariant, {.tenant = "b", .outputs = 5});
  Places nothing;
  std::vector<std::shared_ptr<TestWaiter>> others;
  for (const char* const tenant : {"a", "b"}) {
    ASSERT_EQ(queue_.RoomAtTurn(kVariant, tenant, 8), Room::kOrdinary) << tenant;
    others.push_back(std::make_shared<TestWaiter>(queue_, nothing, 100));
    others.back()->ticket =
        std::move(queue_.Enter(kVariant, {.tenant = tenant}, {}, others.back()).ticket);
  }
  const auto honest = Enter("c");
  Free(1);
  EXPECT_EQ(places_.taken, std::vector{0});
  EXPECT_EQ(queue_.NumWaiting(kVariant), 2U);
}

// It kept a worker busy, if only for a moment; free ones would go before all others for ever.
TEST_F(DispatchQueueTest, WhoCancelsAsSoonAsHeGoesIsChargedForIt) {
  std::vector<std::shared_ptr<TestWaiter>> waiters;
  for (int i = 0; i < 8; ++i) {
    waiters.push_back(Enter(FairQueue::Request{.tenant = "a", .cost = 500, .least_cost = 20}));
  }
  const FairQueue::Request of_b = {.tenant = "b", .cost = 50};
  const auto running = queue_.BeginAtOnce(kVariant, of_b);
  waiters.push_back(Enter(of_b));
  for (int i = 0; i < 6; ++i) {
    Free(1);
    DispatchQueue::Running& last = waiters[static_cast<std::size_t>(places_.taken.back())]->running;
    last.Took(0);
    last = {};
  }
  EXPECT_EQ(places_.taken, (std::vector{0, 1, 2, 8, 3, 4})) << "three of 20 tokens are over 50";
}

TEST(DispatchPaceTest, IsTheTimeBetweenTwoThatWentWhileOthersWaited) {
  FakeClock clock;
  DispatchPace pace;
  EXPECT_FALSE(pace.seconds(clock.Now()));
  for (int i = 0; i < 5; ++i) {
    clock.Advance(seconds(2));
    pace.Count(clock.Now(), true);
  }
  EXPECT_DOUBLE_EQ(*pace.seconds(clock.Now()), 2);
  pace.Rest();
  clock.Advance(seconds(1000));
  EXPECT_DOUBLE_EQ(*pace.seconds(clock.Now()), 2) << "nobody waited meanwhile";
  pace.Count(clock.Now(), true);
  clock.Advance(seconds(30));
  EXPECT_DOUBLE_EQ(*pace.seconds(clock.Now()), 30) << "the next is overdue";
}

}  // namespace
}  // namespace thinkwire::router::admission
