// What a pool does when the configuration is another.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "router/decision/score_policy.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_resolver.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fleet/pool_fixture.h"
#include "tests/router/fleet/short_time.h"

namespace thinkwire::router::fleet {
namespace {

using Variants = std::vector<VariantConfig>;

class ReconfigureTest : public testing::Test {
 protected:
  ReconfigureTest() { EXPECT_TRUE(pool_.TickUntilLive()); }

  void Reconfigure(const Variants& variants) {
    pool_->Introduce(variants);
    pool_->Retire(variants);
  }
  absl::StatusOr<WorkerLease> Pick(const Variants& variants, const std::string& name = "qwen-7b") {
    const decision::ScorePolicy policy(variants);
    return pool_->Lease(policy, {.variant = name});
  }
  static Variants Of(const std::vector<std::string>& workers) {
    return {{.name = "qwen-7b", .workers = workers}};
  }
  static std::string Named(const std::string& host, const FakeWorker& worker) {
    const std::vector<std::string> parts = absl::StrSplit(worker.address(), ':');
    return absl::StrCat(host, ":", parts[1]);
  }

  FakeClock clock_;
  ShortTime time_{clock_};
  FakeWorker a_{"qwen-7b"};
  FakeWorker b_{"qwen-7b"};
  FakeResolver resolver_;
  PoolUnderTest pool_{Of({a_.address()}), clock_, {}, resolver_};
};

TEST_F(ReconfigureTest, WorkersAreTakenBeforeOthersGo) {
  const Variants both = Of({b_.address()});
  pool_->Introduce(both);
  EXPECT_TRUE(pool_.TickUntilLive());
  EXPECT_EQ(pool_->Describe(0).live, 2);
  pool_->Retire(both);
  EXPECT_EQ(pool_->Describe(0).configured, 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(Pick(both)->client().address(), b_.address());
}

TEST_F(ReconfigureTest, SuccessorsAreAwaitedUntilTheyAreLiveAndNoLonger) {
  const Variants nobody = Of({"127.0.0.1:1"});
  pool_->Introduce(nobody);
  pool_->AwaitSuccessors(nobody, std::chrono::milliseconds(1));  // returns
  const Variants other = Of({b_.address()});
  pool_->Introduce(other);
  pool_->Start();
  pool_->AwaitSuccessors(other, std::chrono::minutes(1));
  pool_->Retire(other);
  EXPECT_EQ(Pick(other)->client().address(), b_.address());
}

TEST_F(ReconfigureTest, OneThatIsConfiguredNoMoreFinishesWhatItHas) {
  auto lease = Pick(Of({a_.address()}));
  ASSERT_TRUE(lease.ok()) << lease.status();
  Reconfigure(Of({b_.address()}));
  ASSERT_TRUE(pool_.TickUntilLive());
  for (int i = 0; i < 5; ++i) pool_->Tick();
  EXPECT_EQ(Pick(Of({b_.address()}))->client().address(), b_.address());
  EXPECT_EQ(lease->client().address(), a_.address());
  lease->Begun();  // as it goes on, and as it ends
  lease->Ended(absl::OkStatus());
}

TEST_F(ReconfigureTest, OneThatComesAgainIsTakenAgain) {
  for (const bool has_request : {true, false}) {
    std::optional<WorkerLease> lease;
    if (has_request) lease.emplace(*Pick(Of({a_.address()})));
    Reconfigure(Of({b_.address()}));
    for (int i = 0; i < 5; ++i) pool_->Tick();
    Reconfigure(Of({absl::StrCat("LOCALHOST:", Named("", a_).substr(1))}));
    ASSERT_TRUE(pool_.WaitUntil([&] {
      clock_.Advance(WorkerPool::kFirstRetry);  // its watch may have ended just now
      a_.SetStatus([](auto&) {});
      pool_->Tick();
      return pool_->Describe(0).live == 1;
    }));
  }
}

TEST_F(ReconfigureTest, AWorkerOfAnotherVariantThanBeforeIsAnother) {
  auto lease = Pick(Of({a_.address()}));
  ASSERT_TRUE(lease.ok()) << lease.status();
  const Variants renamed = {{.name = "qwen-7b"},
                            {.name = "new", .aliases = {"qwen-7b"}, .workers = {a_.address()}}};
  Reconfigure(renamed);
  ASSERT_TRUE(pool_.WaitUntil([&] {
    pool_->Tick();
    return pool_->Describe(1).live == 1;
  }));
  EXPECT_EQ(pool_->Describe(0).configured, 0);
  const auto next = Pick(renamed, "new");
  EXPECT_NE(next->decision().worker, lease->decision().worker);
  EXPECT_EQ(lease->client().address(), a_.address());
  lease->Ended(absl::OkStatus());
}

TEST_F(ReconfigureTest, AFingerprintThatIsRequiredNowEndsOthersAtOnce) {
  Variants variants = Of({a_.address()});
  variants[0].require_fingerprint = "other";
  pool_->Introduce(variants);
  EXPECT_EQ(pool_->Describe(0).live, 0);
  pool_->Retire(variants);
  variants[0].require_fingerprint = "fake";
  Reconfigure(variants);
  EXPECT_TRUE(pool_.WaitUntil([&] {
    a_.SetStatus([](auto&) {});
    return pool_->Describe(0).live == 1;
  }));
}

TEST_F(ReconfigureTest, NamesComeAndGo) {
  resolver_.Set("b.test", {"127.0.0.1"});
  Reconfigure(Of({a_.address(), Named("b.test", b_)}));
  ASSERT_TRUE(pool_.WaitUntil([&] {
    pool_->LookUpNames();
    pool_->Tick();
    return pool_->Describe(0).live == 2;
  }));
  Reconfigure(Of({a_.address()}));
  EXPECT_EQ(pool_->Describe(0).configured, 1);
  pool_->LookUpNames();
  EXPECT_EQ(pool_->Describe(0).configured, 1);
}

TEST_F(ReconfigureTest, AWorkerThatANameHadFoundMayBeConfiguredItself) {
  resolver_.Set("b.test", {"127.0.0.1"});
  Reconfigure(Of({Named("b.test", b_)}));
  ASSERT_TRUE(pool_.WaitUntil([&] {
    pool_->LookUpNames();
    pool_->Tick();
    return pool_->Describe(0).live == 1;
  }));
  Reconfigure(Of({b_.address()}));
  resolver_.Set("b.test", {"127.0.0.99"});
  pool_->LookUpNames();
  EXPECT_EQ(pool_->Describe(0).live, 1);
}

}  // namespace
}  // namespace thinkwire::router::fleet
