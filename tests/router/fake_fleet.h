#pragma once

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/rpc/shares.h"
#include "router/generation.h"
#include "tests/fakes/fake_clock.h"
#include "tests/fakes/fake_worker.h"
#include "tests/router/event_sink.h"
#include "tests/router/fleet/pool_fixture.h"
#include "tests/router/in_order_policy.h"

namespace thinkwire::router {

// Generations over fake workers of one variant, which are asked in their order. Time moves when
// told.
class FakeFleetTest : public testing::Test {
 protected:
  explicit FakeFleetTest(std::size_t num_workers, const fleet::Patience& patience = {})
      : workers_(MakeWorkers(num_workers)),
        variants_{{.name = "qwen-7b", .workers = Addresses()}},
        pool_(variants_, clock_, patience) {}
  ~FakeFleetTest() override {
    generations_.clear();
    EXPECT_TRUE(registry_.WaitUntilEmpty(std::chrono::seconds(60)));
  }

  static v1::GenerateRequest Question() {
    v1::GenerateRequest request;
    request.mutable_prompt()->set_text("1+1?");
    return request;
  }
  std::shared_ptr<TestSink> Ask(std::size_t room = 1000, fleet::CallContext context = {},
                                v1::GenerateRequest request = Question()) {
    auto sink = std::make_shared<TestSink>(room);
    generations_.push_back(Generation::Make({.variants = variants_,
                                             .policy = policy_,
                                             .pool = *pool_,
                                             .metrics = metrics_,
                                             .registry = registry_,
                                             .clock = clock_,
                                             .retries = retries_,
                                             .moves = moves_,
                                             .held_bytes = held_bytes_},
                                            std::move(context), sink));
    generations_.back()->Start(std::move(request));
    return sink;
  }
  Generation& latest() { return *generations_.back(); }

  void SetDraining(std::size_t worker, bool draining) {
    workers_[worker].SetStatus([=](auto& status) { status.set_draining(draining); });
  }
  // Of the counters, gauges and histograms of that name, over all labels.
  double Metric(const std::string& name) {
    double sum = 0;
    for (const auto& family : metrics_registry_.Collect()) {
      if (family.name != name) continue;
      for (const auto& metric : family.metric) {
        sum += metric.counter.value + metric.gauge.value +
               static_cast<double>(metric.histogram.sample_count);
      }
    }
    return sum;
  }

 private:
  static std::deque<FakeWorker> MakeWorkers(std::size_t number) {
    std::deque<FakeWorker> workers;
    while (workers.size() < number) workers.emplace_back("qwen-7b");
    return workers;
  }
  std::vector<std::string> Addresses() const {
    std::vector<std::string> addresses;
    for (const FakeWorker& worker : workers_) addresses.push_back(worker.address());
    return addresses;
  }

 protected:
  FakeClock clock_;
  std::deque<FakeWorker> workers_;
  const std::vector<VariantConfig> variants_;
  prometheus::Registry metrics_registry_;
  RouterMetrics metrics_{metrics_registry_, {"qwen-7b"}};
  const InOrderPolicy policy_;
  fleet::PoolUnderTest pool_;
  RetryBudget retries_;
  MoveSchedule moves_{clock_};
  rpc::Shares* held_bytes_ = nullptr;
  GenerationRegistry registry_;
  std::vector<std::shared_ptr<Generation>> generations_;
};

}  // namespace thinkwire::router
