// What a pool believes of its workers' caches, and when it ceases to.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "router/decision/score_policy.h"
#include "router/fleet/worker_client.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fleet/pool_fixture.h"

namespace thinkwire::router::fleet {
namespace {

class PoolAffinityTest : public testing::Test {
 protected:
  PoolAffinityTest() { EXPECT_TRUE(pool_.TickUntilLive()); }

  WorkerLease Ask(const decision::PromptMarks& marks) {
    auto lease = pool_->Lease(policy_, {.prompt_bytes = 4000}, marks);
    EXPECT_TRUE(lease.ok()) << lease.status();
    return *std::move(lease);
  }
  // A request that a worker has begun with, and ended. Its address.
  std::string AskAndEnd(const decision::PromptMarks& marks) {
    WorkerLease lease = Ask(marks);
    lease.HasPrompt(1000, 0);
    return lease.client().address();
  }
  FakeWorker& WorkerAt(const std::string& address) { return a_.address() == address ? a_ : b_; }
  bool Knows(const decision::PromptMarks& marks) { return Ask(marks).decision().cached_tokens > 0; }

  const decision::PromptMarks marks_{.peer = "peer", .bytes = 4000, .list = {{7, 2000}, {8, 4000}}};
  const decision::PromptMarks longer_{
      .peer = "peer", .bytes = 6000, .list = {{7, 2000}, {8, 4000}, {9, 6000}}};
  FakeClock clock_;
  FakeWorker a_{"qwen-7b"};
  FakeWorker b_{"qwen-7b"};
  const std::vector<VariantConfig> variants_ = {
      {.name = "qwen-7b", .workers = {a_.address(), b_.address()}}};
  const decision::ScorePolicy policy_{variants_};
  PoolUnderTest pool_{variants_, clock_};
};

TEST_F(PoolAffinityTest, AConversationComesBack) {
  const std::string first = AskAndEnd(marks_);
  // The other would be next, as it was given less.
  for (int turn = 0; turn < 4; ++turn) {
    WorkerLease lease = Ask(longer_);
    EXPECT_EQ(lease.client().address(), first);
    EXPECT_EQ(lease.decision().cached_tokens, 1000);
    EXPECT_TRUE(absl::StartsWith(lease.decision().worker_reason, "has 1000 tokens of this"));
  }
  EXPECT_NE(AskAndEnd({}), first);
}

TEST_F(PoolAffinityTest, AWorkerThatNeverBeganHasNothing) {
  { const WorkerLease refused = Ask(marks_); }
  EXPECT_FALSE(Knows(longer_));
}

TEST_F(PoolAffinityTest, AWorkerThatIsLostHasLostItsCache) {
  FakeWorker& worker = WorkerAt(AskAndEnd(marks_));
  EXPECT_TRUE(Knows(longer_));
  worker.EndWatches();
  ASSERT_TRUE(pool_.WaitForLive(0, 1));
  EXPECT_FALSE(Knows(longer_));
  clock_.Advance(WorkerPool::kFirstRetry);
  ASSERT_TRUE(pool_.TickUntilLive());
  EXPECT_FALSE(Knows(longer_));
  AskAndEnd(marks_);
  EXPECT_TRUE(Knows(longer_));
}

TEST_F(PoolAffinityTest, AWorkerOfAnotherFingerprintHasLostItsCache) {
  FakeWorker& worker = WorkerAt(AskAndEnd(marks_));
  worker.SetStatus([](auto& status) { status.set_running(1); });
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 1; }));
  worker.SetStatus([](auto& status) { status.set_running(0); });
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 0; }));
  EXPECT_TRUE(Knows(longer_));
  worker.SetStatus([](auto& status) { status.set_fingerprint("another"); });
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).fingerprints.size() == 2; }));
  EXPECT_FALSE(Knows(longer_));
}

}  // namespace
}  // namespace thinkwire::router::fleet
