#include "router/fleet/discovery.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/input_limits.h"
#include "router/decision/score_policy.h"
#include "router/fleet/worker_client.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_resolver.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fleet/pool_fixture.h"

namespace thinkwire::router::fleet {
namespace {

using Addresses = std::vector<std::string>;

TEST(DiscoveryTest, NamesAreToldFromAddresses) {
  for (const char* address : {"10.0.0.1:1", "[fd00::1]:1", "127.1:1", "localhost:1",
                              "a.localhost:1", "ip6-localhost:1", "[::1]:1"}) {
    EXPECT_FALSE(ReadWorkerName(0, address)) << address;
  }
  const auto name = ReadWorkerName(3, "Workers.Default.SVC.:50061");
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->variant, 3U);
  EXPECT_EQ(name->host, "workers.default.svc");
  EXPECT_EQ(name->port, 50061);
}

TEST(DiscoveryTest, EachNameIsLookedUpInEachRound) {
  FakeResolver resolver;
  resolver.Set("a", {"10.0.0.1", "[fd00::1]"});
  std::vector<std::pair<WorkerName, absl::StatusOr<Addresses>>> told;
  Discovery discovery({{.host = "a", .port = 7}, {.host = "b", .port = 8}}, resolver,
                      [&](const WorkerName& name, absl::StatusOr<Addresses> found) {
                        told.emplace_back(name, std::move(found));
                      });
  discovery.LookUpAll();
  discovery.LookUpAll();
  ASSERT_EQ(told.size(), 4U);
  EXPECT_EQ(told[0].first.host, "a");
  EXPECT_EQ(*told[2].second, (Addresses{"10.0.0.1:7", "[fd00::1]:7"}));
  EXPECT_EQ(told[3].first.host, "b");
  EXPECT_FALSE(told[3].second.ok());
  discovery.SetNames({{.host = "b", .port = 9}});
  discovery.LookUpAll();
  ASSERT_EQ(told.size(), 5U);
  EXPECT_EQ(told[4].first.port, 9);
}

TEST(DiscoveryTest, TheMachineKnowsItself) {
  const auto found = Resolver::OfMachine().Resolve("localhost");
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(std::ranges::count(*found, "127.0.0.1") == 1 || *found == Addresses{"[::1]"})
      << found->front();
  EXPECT_TRUE(std::ranges::is_sorted(*found));
  EXPECT_EQ(Resolver::OfMachine().Resolve("no such name").status().code(),
            absl::StatusCode::kUnavailable);
}

// A variant with two names, each for a port of this machine, and one address.
class NamedWorkersTest : public testing::Test {
 protected:
  static std::string Named(const std::string& host, const FakeWorker& worker) {
    const Addresses parts = absl::StrSplit(worker.address(), ':');
    return absl::StrCat(host, ":", parts[1]);
  }
  bool LookUpUntilLive(int number) {
    return pool_.WaitUntil([&] {
      pool_->LookUpNames();
      pool_->Tick();
      const VariantState state = pool_->Describe(0);
      return state.live == number && state.configured == number;
    });
  }
  absl::StatusOr<WorkerLease> Pick() { return pool_->Lease(policy_, {.variant = "qwen-7b"}); }

  FakeClock clock_;
  FakeWorker a_{"qwen-7b"};
  FakeWorker b_{"qwen-7b"};
  FakeWorker c_{"qwen-7b"};
  FakeResolver resolver_;
  const std::vector<VariantConfig> variants_ = {
      {.name = "qwen-7b", .workers = {Named("a.test", a_), Named("b.test", b_), c_.address()}}};
  const decision::ScorePolicy policy_{variants_};
  PoolUnderTest pool_{variants_, clock_, {}, resolver_};
};

TEST_F(NamedWorkersTest, WorkersComeAsTheirNamesAreFound) {
  EXPECT_TRUE(LookUpUntilLive(1));
  resolver_.Set("a.test", {"127.0.0.1"});
  EXPECT_TRUE(LookUpUntilLive(2));
  resolver_.Set("b.test", {"127.0.0.1"});
  EXPECT_TRUE(LookUpUntilLive(3));
}

TEST_F(NamedWorkersTest, AVariantOfNobodySaysSo) {
  FakeResolver nobody;
  const std::vector<VariantConfig> variants = {{.name = "qwen-7b", .workers = {"a.test:1"}}};
  PoolUnderTest pool(variants, clock_, {}, nobody);
  pool->LookUpNames();
  const auto lease = pool->Lease(policy_, {.variant = "qwen-7b"});
  EXPECT_NE(lease.status().message().find("none is known yet"), absl::string_view::npos)
      << lease.status();
  pool->WaitForFirstContact(std::chrono::seconds(60));  // returns: the name was looked up
}

TEST_F(NamedWorkersTest, ANameThatIsNotFoundKeepsItsWorkers) {
  resolver_.Set("a.test", {"127.0.0.1"});
  EXPECT_TRUE(LookUpUntilLive(2));
  resolver_.Set("a.test", {});
  pool_->LookUpNames();
  EXPECT_EQ(pool_->Describe(0).live, 2);
}

TEST_F(NamedWorkersTest, OneThatItsNameDoesNotMeanAnyMoreFinishesWhatItHas) {
  resolver_.Set("a.test", {"127.0.0.1"});
  a_.SetScript({.stays_open = true});
  c_.SetStatus([](auto& status) { status.set_running(10); });
  EXPECT_TRUE(LookUpUntilLive(2));
  ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 10; }));
  auto lease = Pick();
  ASSERT_TRUE(lease.ok());
  ASSERT_EQ(lease->client().address(), a_.address());
  resolver_.Set("a.test", {"127.0.0.99"});
  pool_->LookUpNames();
  EXPECT_EQ(pool_->Describe(0).live, 1);
  for (int i = 0; i < 5; ++i) pool_->Tick();
  EXPECT_EQ(Pick()->client().address(), c_.address());
  // Its client works on.
  bool counted = false;
  Mutex mu;
  CondVar changed;
  lease->client().CountTokens({}, {}, [&](const WorkerClient::CountResult& count) {
    MutexLock lock(mu);
    counted = count.ok();
    changed.NotifyAll();
  });
  MutexLock lock(mu);
  while (!counted) changed.WaitFor(mu, std::chrono::seconds(1));
}

TEST_F(NamedWorkersTest, OneThatComesAgainIsTakenAgain) {
  resolver_.Set("a.test", {"127.0.0.1"});
  EXPECT_TRUE(LookUpUntilLive(2));
  for (const bool has_request : {true, false}) {
    std::optional<WorkerLease> lease;
    if (has_request) {
      c_.SetStatus([](auto& status) { status.set_running(10); });
      ASSERT_TRUE(pool_.WaitUntil([&] { return pool_->Describe(0).running == 10; }));
      lease.emplace(*Pick());
      ASSERT_EQ(lease->client().address(), a_.address());
    }
    resolver_.Set("a.test", {"127.0.0.99"});
    pool_->LookUpNames();
    for (int i = 0; i < 5; ++i) pool_->Tick();
    EXPECT_EQ(pool_->Describe(0).live, 1);
    resolver_.Set("a.test", {"127.0.0.1"});
    ASSERT_TRUE(pool_.WaitUntil([&] {
      clock_.Advance(WorkerPool::kFirstRetry);  // its watch may have ended just now
      for (FakeWorker* const worker : {&a_, &c_}) worker->SetStatus([](auto&) {});
      pool_->LookUpNames();
      pool_->Tick();
      return pool_->Describe(0).live == 2;
    }));
  }
}

TEST_F(NamedWorkersTest, NoWorkerIsTwo) {
  resolver_.Set("a.test", {"127.0.0.1"});
  const std::vector<VariantConfig> variants = {
      {.name = "qwen-7b", .workers = {a_.address(), Named("a.test", a_)}},
      {.name = "qwen-32b", .workers = {Named("A.test.", a_)}}};
  PoolUnderTest pool(variants, clock_, {}, resolver_);
  pool->LookUpNames();
  EXPECT_EQ(pool->Describe(0).configured, 1);
  EXPECT_EQ(pool->Describe(1).configured, 0);
}

TEST_F(NamedWorkersTest, ANameOfTooManyIsCut) {
  Addresses addresses;
  for (std::size_t i = 0; i < kMaxWorkers + 10; ++i) {
    addresses.push_back(absl::StrCat("127.1.", i / 256, ".", i % 256));
  }
  resolver_.Set("a.test", addresses);
  pool_->LookUpNames();
  EXPECT_EQ(pool_->Describe(0).configured, static_cast<int>(kMaxWorkers));
}

}  // namespace
}  // namespace thinkwire::router::fleet
