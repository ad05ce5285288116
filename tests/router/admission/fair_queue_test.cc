#include "router/admission/fair_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/peer_limits.h"
#include "tests/fakes/fake_clock.h"

namespace thinkwire::router::admission {
namespace {

using std::chrono::seconds;
using Id = FairQueue::Id;

class FairQueueTest : public testing::Test {
 protected:
  Id Add(const std::string& tenant, double cost = 100, double weight = 1,
         Priority priority = Priority::kNormal, std::optional<int> deadline_s = {}) {
    FairQueue::Request request{
        .tenant = tenant, .weight = weight, .priority = priority, .cost = cost};
    if (deadline_s) request.deadline = clock_.Now() + seconds(*deadline_s);
    const Id id = queue_.Add(request, clock_.Now());
    tenants_[id] = tenant;
    return id;
  }
  Id AddOf(Priority priority, std::optional<int> deadline_s = {}) {
    return Add("a", 100, 1, priority, deadline_s);
  }
  // 0: none waits.
  Id Take() {
    const auto next = queue_.Next(clock_.Now());
    if (next) queue_.Take(*next);
    return next.value_or(0);
  }
  // The tenants of the next ones.
  std::string TakeTenants(int number) {
    std::string taken;
    for (int i = 0; i < number; ++i) taken += tenants_[Take()];
    return taken;
  }

  FakeClock clock_;
  FairQueue queue_;
  std::map<Id, std::string> tenants_;
};

TEST_F(FairQueueTest, TenantsGoByTurnsWhateverEachHasWaiting) {
  for (int i = 0; i < 100; ++i) Add("a");
  for (int i = 0; i < 3; ++i) Add("b");
  EXPECT_EQ(TakeTenants(7), "abababa");
}

TEST_F(FairQueueTest, TheTurnIsOfTokensNotOfRequests) {
  for (int i = 0; i < 20; ++i) Add("a", 400);
  for (int i = 0; i < 20; ++i) Add("b", 100);
  const std::string taken = TakeTenants(15);
  EXPECT_EQ(std::ranges::count(taken, 'a'), 3) << taken;
}

TEST_F(FairQueueTest, WeightsShareTheTokensOut) {
  for (int i = 0; i < 100; ++i) {
    Add("a", 100, 3);
    Add("b", 100, 1);
  }
  const std::string taken = TakeTenants(80);
  EXPECT_NEAR(static_cast<double>(std::ranges::count(taken, 'a')), 60, 1) << taken;
}

TEST_F(FairQueueTest, ANewcomerIsNextButSavesNothingUp) {
  for (int i = 0; i < 20; ++i) Add("a");
  TakeTenants(10);
  for (int i = 0; i < 20; ++i) Add("b");
  EXPECT_EQ(TakeTenants(6), "bababa");
}

TEST_F(FairQueueTest, WhoWasLetPassPaysAsIfItHadWaited) {
  for (int i = 0; i < 9; ++i) Add("a");
  queue_.Charge({.tenant = "b", .cost = 300});
  Add("b");
  EXPECT_EQ(TakeTenants(6), "aaaaba");
}

TEST_F(FairQueueTest, WhatARequestHasReallyTakenIsMadeGood) {
  for (int i = 0; i < 20; ++i) {
    Add("a");
    Add("b");
  }
  EXPECT_EQ(TakeTenants(2), "ab");
  queue_.Correct("a", 1, 300);  // it took 400
  EXPECT_EQ(TakeTenants(5), "bbbab");
  queue_.Correct("b", 1, -1e9);  // no more than to the present is given back
  EXPECT_EQ(std::ranges::count(TakeTenants(10), 'a'), 5);
}

TEST_F(FairQueueTest, APriorityGoesBeforeItsTenantsOthersOnly) {
  const Id low = AddOf(Priority::kLow);
  const Id normal = AddOf(Priority::kNormal);
  const Id high = AddOf(Priority::kHigh);
  const Id other = Add("b", 100, 1, Priority::kLow);
  const std::vector<Id> taken = {Take(), Take(), Take(), Take()};
  EXPECT_EQ(taken, (std::vector<Id>{high, other, normal, low}));
}

TEST_F(FairQueueTest, WithinAPriorityTheNearestDeadlineGoesFirst) {
  const Id none = AddOf(Priority::kNormal);
  const Id far = AddOf(Priority::kNormal, 60);
  const Id near = AddOf(Priority::kNormal, 20);
  const Id high = AddOf(Priority::kHigh, 90);
  const std::vector<Id> taken = {Take(), Take(), Take(), Take()};
  EXPECT_EQ(taken, (std::vector<Id>{high, near, far, none}));
}

TEST_F(FairQueueTest, APriorityRisesByWaiting) {
  const Id low = AddOf(Priority::kLow);
  clock_.Advance(kPriorityAgeing - seconds(1));
  const Id normal = AddOf(Priority::kNormal);
  EXPECT_EQ(*queue_.Next(clock_.Now()), normal);
  clock_.Advance(seconds(1));
  EXPECT_EQ(*queue_.Next(clock_.Now()), low) << "normal too now, and came first";
  clock_.Advance(kPriorityAgeing);
  AddOf(Priority::kHigh, 1000);
  EXPECT_EQ(Take(), low);
}

TEST_F(FairQueueTest, NothingWaitsForEver) {
  const Id patient = AddOf(Priority::kLow);
  const int most =
      static_cast<int>((kAssumedPatience + 2 * Clock::Duration(kPriorityAgeing)) / seconds(1));
  for (int i = 0; i <= most; ++i) {
    AddOf(Priority::kHigh, 1);
    if (Take() == patient) return;
    clock_.Advance(seconds(1));
  }
  FAIL() << "it still waits";
}

TEST_F(FairQueueTest, WhoLeavesIsNotCharged) {
  const Id first = Add("a", 1000);
  for (int i = 0; i < 4; ++i) {
    Add("a");
    Add("b");
  }
  queue_.Remove(first);
  queue_.Remove(first);  // a cancel may come late
  EXPECT_EQ(TakeTenants(8), "abababab");
  EXPECT_TRUE(queue_.empty());
  EXPECT_FALSE(queue_.Next(clock_.Now()));
}

// Against any mix: the order that is told is the order that comes, the place of a newcomer is about
// what is told, and tenants that always wait get their parts within two requests.
TEST_F(FairQueueTest, HoldsItsPromisesUnderRandomTraffic) {
  constexpr unsigned kSeed = 7;
  std::mt19937 random(kSeed);
  SCOPED_TRACE(kSeed);
  const auto draw = [&](int below) { return static_cast<int>(random() % below); };
  std::map<std::string, double> got;
  for (int i = 0; i < 3000; ++i) {
    for (const char* always : {"x", "y"}) {
      while (!queue_.Has(always)) Add(always, 1 + draw(1000), always[0] == 'x' ? 2 : 1);
    }
    for (int k = draw(3); k > 0; --k) {
      Add(std::string(1, static_cast<char>('a' + draw(5))), 1 + draw(1000), 1 + draw(3),
          static_cast<Priority>(draw(3)), draw(2) == 0 ? std::nullopt : std::optional(draw(900)));
    }
    queue_.Next(clock_.Now());  // which lets priorities rise
    const std::vector<Id> order = queue_.Order();
    ASSERT_EQ(order.size(), queue_.size());
    const Id next = *queue_.Next(clock_.Now());
    ASSERT_EQ(next, order.front());
    if (draw(4) == 0) {
      queue_.Remove(order[draw(static_cast<int>(order.size()))]);
    } else {
      queue_.Take(next);
      ++got[tenants_[next]];
    }
    clock_.Advance(std::chrono::milliseconds(draw(2000)));
  }
  EXPECT_GT(got["x"], 1.3 * got["y"]);
  EXPECT_LT(got["x"], 3 * got["y"]);
}

TEST_F(FairQueueTest, TheWholeOrderIsTheOrderThatComes) {
  for (int i = 0; i < 30; ++i) {
    Add("a", 50 + 10 * i, 2);
    Add("b", 300, 1, static_cast<Priority>(i % 3), i % 7);
    Add("c", 120);
  }
  for (const Id id : queue_.Order()) ASSERT_EQ(Take(), id);
}

TEST_F(FairQueueTest, TellsANewcomersPlace) {
  EXPECT_EQ(queue_.CountAhead({.tenant = "a"}, clock_.Now()), 0U);
  for (int i = 0; i < 10; ++i) Add("a");
  EXPECT_EQ(queue_.CountAhead({.tenant = "a"}, clock_.Now()), 10U);
  EXPECT_EQ(queue_.CountAhead({.tenant = "a", .priority = Priority::kHigh}, clock_.Now()), 0U);
  EXPECT_EQ(queue_.CountAhead({.tenant = "b"}, clock_.Now()), 1U) << "equal turns: who came first";
  for (int i = 0; i < 3; ++i) Add("b");
  EXPECT_EQ(queue_.CountAhead({.tenant = "b"}, clock_.Now()), 7U);
  EXPECT_EQ(queue_.CountAhead({.tenant = "c"}, clock_.Now()), 2U);
}

}  // namespace
}  // namespace thinkwire::router::admission
