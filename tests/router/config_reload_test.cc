#include "router/config_reload.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "router/config.h"
#include "router/fleet/worker_client.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/fleet/pool_fixture.h"
#include "tests/router/fleet/short_time.h"

namespace thinkwire::router {
namespace {

using std::chrono::milliseconds;

// A file of a router's variants, and what a router has that goes by it.
class ConfigReloadTest : public testing::Test {
 protected:
  ConfigReloadTest()
      : path_(absl::StrCat(testing::TempDir(), "config-reload-", getpid(), ".yaml")),
        first_(Write(Variant("qwen-7b", a_) + Variant("qwen-32b", b_))) {
    pool_->Start();
    EXPECT_TRUE(pool_.WaitForLive(0, 1) && pool_.WaitForLive(1, 1));
  }
  ~ConfigReloadTest() override { std::filesystem::remove(path_); }

  static std::string Variant(const std::string& name, const FakeWorker& worker,
                             const std::string& more = "") {
    return absl::StrCat("  - name: ", name, "\n    workers: [\"", worker.address(), "\"]\n", more);
  }
  // The file says this from now on.
  RouterConfig Write(const std::string& variants) {
    const std::string text = "variants:\n" + variants;
    std::ofstream(path_ + ".new") << text;
    std::filesystem::rename(path_ + ".new", path_);
    return ParseConfig(text, path_).value_or(RouterConfig());
  }
  void Append(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }

  absl::StatusOr<fleet::WorkerLease> Ask(const std::string& variant) {
    const std::shared_ptr<const Catalog> catalog = catalog_.Get();
    return pool_->Lease(catalog->policy(), {.variant = variant});
  }
  // Of a counter or gauge without labels.
  double Metric(const std::string& name) const {
    for (const auto& family : registry_.Collect()) {
      if (family.name != "thinkwire_router_" + name) continue;
      for (const auto& metric : family.metric) return metric.counter.value + metric.gauge.value;
    }
    return -1;
  }
  bool WaitForMetric(const std::string& name, double value) {
    return pool_.WaitUntil([&] { return Metric(name) == value; });
  }

  FakeClock clock_;
  fleet::ShortTime time_{clock_};
  FakeWorker a_{"qwen-7b"};
  FakeWorker b_{"qwen-32b"};
  FakeWorker c_{"qwen-7b"};
  const std::string path_;
  const RouterConfig first_;
  prometheus::Registry registry_;
  RouterMetrics metrics_{registry_, {"qwen-7b", "qwen-32b"}};
  CurrentCatalog catalog_{std::make_shared<const Catalog>(first_)};
  fleet::PoolUnderTest pool_{first_.variants, clock_};
  ConfigReload reload_{{.path = path_,
                        .catalog = catalog_,
                        .pool = *pool_,
                        .metrics = metrics_,
                        .look_every = milliseconds(5),
                        .replace_time = std::chrono::minutes(1)}};
};

TEST_F(ConfigReloadTest, AChangeOfTheFileIsTakenWithoutBeingAsked) {
  reload_.Start();
  Write(Variant("qwen-7b", c_));
  ASSERT_TRUE(WaitForMetric("config_reloads_total", 1));
  EXPECT_EQ(Ask("qwen-7b")->client().address(), c_.address());
  EXPECT_EQ(Ask("qwen-32b").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Metric("config_last_reload_successful"), 1);
}

TEST_F(ConfigReloadTest, ABadFileChangesNothing) {
  for (const char* bad : {"  - name: qwen-7b\n", "  - name: [", "", "  - nome: x\n"}) {
    Write(bad);
    reload_.Reload();
    EXPECT_EQ(Metric("config_last_reload_successful"), 0) << bad;
  }
  std::filesystem::remove(path_);
  reload_.Reload();
  EXPECT_EQ(Metric("config_failures_total"), 5);
  EXPECT_EQ(Metric("config_reloads_total"), 0);
  EXPECT_EQ(Ask("qwen-7b")->client().address(), a_.address());
  EXPECT_EQ(Ask("qwen-32b")->client().address(), b_.address());
  Write(Variant("qwen-32b", b_));
  reload_.Reload();
  EXPECT_EQ(Metric("config_last_reload_successful"), 1);
  EXPECT_EQ(Ask("qwen-7b").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(ConfigReloadTest, AFileThatIsStillBeingWrittenIsTakenWhenItIsWhole) {
  reload_.Start();
  Write("  - name: qwen-7b\n    workers: [\"");
  ASSERT_TRUE(WaitForMetric("config_failures_total", 1));
  EXPECT_EQ(Ask("qwen-32b")->client().address(), b_.address());
  Append(c_.address() + "\"]\n");
  ASSERT_TRUE(WaitForMetric("config_reloads_total", 1));
  EXPECT_EQ(Ask("qwen-7b")->client().address(), c_.address());
  EXPECT_EQ(Metric("config_failures_total"), 1);
}

TEST_F(ConfigReloadTest, ARequestKeepsTheCatalogThatItBeganWith) {
  const std::shared_ptr<const Catalog> catalog = catalog_.Get();
  auto lease = Ask("qwen-7b");
  ASSERT_TRUE(lease.ok()) << lease.status();
  Write(Variant("renamed", a_, "    aliases: [qwen-7b]\n"));
  reload_.Reload();
  EXPECT_EQ(catalog->variants()[lease->decision().variant].name, "qwen-7b");
  lease->Begun();
  lease->Ended(absl::OkStatus());
  const auto next = Ask("qwen-7b");  // by its alias
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ(next->decision().variant, 2u);
  EXPECT_EQ(next->client().address(), a_.address());
}

TEST_F(ConfigReloadTest, WhatDecidesIsAnotherAtOnce) {
  const std::string better = "    quality: {general: 1}\n    cost_per_million_tokens: 1\n";
  const std::string worse = "    quality: {general: 0.1}\n    cost_per_million_tokens: 1\n";
  Write(Variant("qwen-7b", a_, better) + Variant("qwen-32b", b_, worse));
  reload_.Reload();
  EXPECT_EQ(Ask("")->client().address(), a_.address());
  Write(Variant("qwen-7b", a_, worse) + Variant("qwen-32b", b_, better));
  reload_.Reload();
  EXPECT_EQ(Ask("")->client().address(), b_.address());
}

// Whoever asks meanwhile has one configuration or the other; a worker may be lost on a busy
// machine.
TEST_F(ConfigReloadTest, WhoAsksMeanwhileIsAnsweredByOneOfThem) {
  std::atomic<bool> stopping = false;
  std::vector<std::thread> clients;
  for (int i = 0; i < 2; ++i) {
    clients.emplace_back([&] {
      while (!stopping) {
        std::this_thread::sleep_for(milliseconds(1));  // leaves room for those who connect
        auto lease = Ask("qwen-7b");
        if (absl::IsUnavailable(lease.status())) continue;
        ASSERT_TRUE(lease.ok()) << lease.status();
        EXPECT_EQ(lease->decision().variant, 0u);
        lease->Begun();
        pool_->Learn(*lease, {.variant = 0, .reasoning_tokens = 100}, 0.01, 0);
        metrics_.CountPoisoned(0);
      }
    });
  }
  std::list<FakeWorker> workers;
  for (int round = 0; round < 6; ++round) {
    const FakeWorker& next = workers.emplace_back("qwen-7b");
    const FakeWorker& more = workers.emplace_back(absl::StrCat("more-", round));
    Write(Variant("qwen-7b", next) + Variant(absl::StrCat("more-", round), more));
    reload_.Reload();
  }
  stopping = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(Metric("config_reloads_total"), 6);
}

}  // namespace
}  // namespace thinkwire::router
