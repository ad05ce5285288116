// A model on devices that work later than they are told to, against the same model on the CPU.
#include "worker/model/leader_runner.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "common/check.h"
#include "tests/fakes/async_backend.h"
#include "tests/fakes/async_communicator.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/step_driver.h"
#include "worker/kernels/devices.h"
#include "worker/model/load_model.h"
#include "worker/parallel/local_communicator.h"

namespace thinkwire::worker::model {
namespace {

constexpr std::int32_t kSlots = 11;  // buckets 1, 2, 4, 8 and 11

ModelOptions Options(int ranks, int max_in_flight) {
  ModelOptions options;
  options.model_dir = ModelDir("qwen2");
  options.device = "cpu";
  options.cpu_threads = ranks;
  options.tensor_parallel_size = ranks;
  options.max_model_len = 128;
  options.max_num_seqs = kSlots;
  options.max_num_batched_tokens = 64;
  options.max_in_flight = max_in_flight;
  return options;
}

std::vector<std::unique_ptr<parallel::Communicator>> LocalCommunicators(int size) {
  auto communicators =
      parallel::OpenLocalCommunicators(std::make_shared<parallel::LocalGroup>(size), 0, size, size);
  CHECK(communicators.ok(), "a whole group");
  return *std::move(communicators);
}

// A model on asynchronous devices, which the test can look at while it runs.
struct AsyncModel {
  std::vector<kernels::AsyncBackend*> devices;  // owned by the runner
  std::unique_ptr<ModelRunner> runner;
};

AsyncModel LoadAsync(const ModelOptions& options, bool gains_by_recording) {
  AsyncModel model;
  Devices devices;
  auto communicators = LocalCommunicators(options.tensor_parallel_size);
  for (auto& communicator : communicators) {
    auto device = std::make_unique<kernels::AsyncBackend>(1, gains_by_recording);
    model.devices.push_back(device.get());
    devices.communicators.push_back(
        std::make_unique<parallel::AsyncCommunicator>(std::move(communicator), *device));
    devices.backends.push_back(std::move(device));
  }
  auto runner = LoadModel(options, LocalPlans(options), std::move(devices));
  EXPECT_TRUE(runner.ok()) << runner.status();
  if (runner.ok()) model.runner = *std::move(runner);
  return model;
}

step::SamplingParams Seeded(std::uint64_t seed) {
  step::SamplingParams params;
  for (step::PhaseSampling& phase : params.phases) phase.temperature = 1.0F;
  params.seed = seed;
  if (seed % 4 == 3) {
    params.phases[step::Phase::kReasoning].repetition_penalty = 1.5F;
    params.phases[step::Phase::kReasoning].frequency_penalty = 0.5F;
  }
  return params;
}

std::vector<step::LogitBias> Biases(std::uint64_t seed) {
  if (seed % 4 != 3) return {};
  return {{4, 3.0F}, {50, -100.0F}};
}

// Sequences join one by one while the others decode, then leave one by one: steps of every kind
// and every number of rows. In step order, what each drew.
struct Workload {
  int prefill_steps = 0;
  int decode_steps = 0;
  std::vector<std::map<std::int32_t, Drawn>> drawn;
};

Workload RunWorkload(step::Runner& runner) {
  Workload work;
  StepDriver driver(runner);
  int in_flight = 0;
  const auto step = [&](const std::vector<Feed>& feeds) {
    if (in_flight == runner.limits().max_in_flight) {
      work.drawn.push_back(driver.Collect());
      --in_flight;
    }
    driver.Submit(feeds);
    ++in_flight;
  };
  const auto decode = [&](std::int32_t first, std::int32_t end) {
    std::vector<Feed> feeds;
    for (std::int32_t slot = first; slot < end; ++slot) feeds.push_back({slot, {}});
    return feeds;
  };
  for (std::int32_t slot = 0; slot < kSlots; ++slot) {
    const auto seed = static_cast<std::uint64_t>(slot);
    driver.Begin(slot, Seeded(seed), Biases(seed));
    std::vector<std::int32_t> prompt;
    for (std::int32_t i = 0; i < 3 + 2 * slot; ++i) prompt.push_back((7 * slot + 5 * i) % 90);
    std::vector<Feed> chunk = decode(0, slot);
    chunk.push_back({slot, prompt, 0});
    step(chunk);
    std::vector<Feed> rest = decode(0, slot);
    rest.push_back({slot, {1, 2}});
    rest.back().alternatives = slot % 3;
    step(rest);
    step(decode(0, slot + 1));
    work.prefill_steps += 2;
    work.decode_steps += 1;
  }
  for (std::int32_t first = 1; first < kSlots; ++first) {
    std::vector<Feed> feeds = decode(first, kSlots);
    if (first % 2 == 0) feeds.back().alternatives = 5;  // recorded up to the logits
    step(feeds);
    ++work.decode_steps;
  }
  for (; in_flight > 0; --in_flight) work.drawn.push_back(driver.Collect());
  return work;
}

// A device that knows how many steps it was given up to their logits.
class CountingBackend final : public kernels::AsyncBackend {
 public:
  CountingBackend() : AsyncBackend(1, true) {}
  void LmHead(const kernels::Tensor& x, const kernels::LinearWeight& weight,
              const kernels::Tensor& logits) override {
    ++heads_;
    AsyncBackend::LmHead(x, weight, logits);
  }
  int heads() const { return heads_; }

 private:
  std::atomic<int> heads_ = 0;
};

// A rank's way to the others, which asks `on_call` first.
class WatchedCommunicator final : public parallel::Communicator {
 public:
  WatchedCommunicator(std::unique_ptr<Communicator> inner, std::function<void()> on_call)
      : inner_(std::move(inner)), on_call_(std::move(on_call)) {}
  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void AllReduce(const kernels::Tensor& x) override {
    on_call_();
    inner_->AllReduce(x);
  }
  void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) override {
    on_call_();
    inner_->AllGatherColumns(local, out);
  }

 private:
  const std::unique_ptr<Communicator> inner_;
  const std::function<void()> on_call_;
};

// The sums of one rank, which wait at each for the test.
class PausedCommunicator final : public parallel::Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void AllReduce(const kernels::Tensor&) override {
    arrived_.release();
    leave_.acquire();
  }
  void AllGatherColumns(const kernels::Tensor&, const kernels::Tensor&) override {}

  void AwaitSum() { arrived_.acquire(); }
  void LetGo() { leave_.release(); }

 private:
  std::binary_semaphore arrived_{0};
  std::binary_semaphore leave_{0};
};

TEST(LeaderRunnerBeatsTest, ARankBeatsOnceALayer) {
  constexpr std::int32_t kLayers = 2;  // of the model
  const ModelOptions options = Options(1, 1);
  std::string error;
  Devices devices;
  devices.backends = kernels::OpenDevices({"cpu", 1, 1}, &error);
  auto communicator = std::make_unique<PausedCommunicator>();
  PausedCommunicator& pause = *communicator;
  devices.communicators.push_back(std::move(communicator));
  const auto runner = LoadModel(options, LocalPlans(options), std::move(devices));
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_EQ((*runner)->beats(), (std::vector<step::RankBeat>{{.step = 0, .layer = 0}}));
  StepDriver driver(**runner);
  driver.Begin(0, Seeded(1));
  for (std::uint64_t step = 1; step <= 2; ++step) {
    driver.Submit({{0, {1, 2, 3}}});
    // Two sums a layer: after attention, and after the feed-forward.
    for (std::int32_t sum = 0; sum < 2 * kLayers; ++sum) {
      pause.AwaitSum();
      EXPECT_EQ((*runner)->beats(),
                (std::vector<step::RankBeat>{{.step = step, .layer = 1 + sum / 2}}));
      pause.LetGo();
    }
    driver.Collect();
    EXPECT_EQ((*runner)->beats(),
              (std::vector<step::RankBeat>{{.step = step, .layer = kLayers + 1}}));
  }
}

// What a device loads or makes at first use may wait for its peers, whose kernels may wait for it.
TEST(LeaderRunnerWarmUpTest, NoRankWaitsForAnotherBeforeAllHaveComputedAStep) {
  const ModelOptions options = Options(2, 1);
  Devices devices;
  std::vector<const CountingBackend*> counting;
  std::atomic<bool> called = false;
  for (auto& communicator : LocalCommunicators(2)) {
    auto device = std::make_unique<CountingBackend>();
    counting.push_back(device.get());
    auto async = std::make_unique<parallel::AsyncCommunicator>(std::move(communicator), *device);
    devices.communicators.push_back(
        std::make_unique<WatchedCommunicator>(std::move(async), [&called, &counting] {
          called = true;
          for (const CountingBackend* backend : counting) EXPECT_GE(backend->heads(), 1);
        }));
    devices.backends.push_back(std::move(device));
  }
  const auto runner = LoadModel(options, LocalPlans(options), std::move(devices));
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_TRUE(called);  // before anything is recorded, and then in it
}

class LeaderRunnerTest : public testing::TestWithParam<std::tuple<int, int, bool>> {
 protected:
  ModelOptions options() const { return Options(std::get<0>(GetParam()), std::get<1>(GetParam())); }
  bool records() const { return std::get<2>(GetParam()); }
};

TEST_P(LeaderRunnerTest, AnAsynchronousDeviceGivesTheCpusBits) {
  const auto cpu = LoadModel(options(), LocalPlans(options()));
  ASSERT_TRUE(cpu.ok()) << cpu.status();
  const AsyncModel async = LoadAsync(options(), records());
  ASSERT_NE(async.runner, nullptr);
  const Workload expected = RunWorkload(**cpu);
  const Workload got = RunWorkload(*async.runner);
  EXPECT_EQ(got.drawn, expected.drawn);
  for (const kernels::AsyncBackend* device : async.devices) {
    EXPECT_EQ(device->num_replays(), records() ? expected.decode_steps : 0);
  }
}

TEST_P(LeaderRunnerTest, DeviceHasAllStepsInFlightBeforeTheFirstIsDone) {
  const AsyncModel async = LoadAsync(options(), records());
  ASSERT_NE(async.runner, nullptr);
  const int depth = options().max_in_flight;
  for (kernels::AsyncBackend* device : async.devices) device->Hold();
  StepDriver driver(*async.runner);
  driver.Begin(0, Seeded(1));
  driver.Submit({{0, {1, 2, 3}}});
  if (depth == 2) driver.Submit({{0, {}}});
  EXPECT_TRUE(async.devices[0]->AwaitCopiesAsked(depth));
  for (kernels::AsyncBackend* device : async.devices) device->Release();
  for (int i = 0; i < depth; ++i) EXPECT_EQ(driver.Collect().size(), 1U);
}

TEST_P(LeaderRunnerTest, EndsWithStepsInFlight) {
  AsyncModel async = LoadAsync(options(), records());
  ASSERT_NE(async.runner, nullptr);
  for (kernels::AsyncBackend* device : async.devices) device->Hold();
  StepDriver driver(*async.runner);
  driver.Begin(0, Seeded(1));
  driver.Submit({{0, {1, 2, 3}}});
  const int depth = options().max_in_flight;
  if (depth == 2) driver.Submit({{0, {}}});
  // The devices live on while they are held, as the runner's end waits for them.
  std::thread release([&async, depth] {
    EXPECT_TRUE(async.devices[0]->AwaitCopiesAsked(depth));
    for (kernels::AsyncBackend* device : async.devices) device->Release();
  });
  async.runner.reset();
  release.join();
}

TEST_P(LeaderRunnerTest, StampsHowLongTheDeviceWaitsBetweenSteps) {
  ModelOptions stamped = options();
  stamped.stamp_steps = true;
  const AsyncModel async = LoadAsync(stamped, records());
  ASSERT_NE(async.runner, nullptr);
  StepDriver driver(*async.runner);
  driver.Begin(0, Seeded(1));
  driver.Step({{0, {1, 2, 3}}});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  driver.Step({{0, {}}});
  const std::vector<double> gaps = async.runner->TakeStepGaps();
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_EQ(gaps[0], 0);
  EXPECT_GE(gaps[1], 0.02);
  EXPECT_TRUE(async.runner->TakeStepGaps().empty());
}

INSTANTIATE_TEST_SUITE_P(Devices, LeaderRunnerTest,
                         testing::Combine(testing::Values(1, 2), testing::Values(1, 2),
                                          testing::Bool()),
                         [](const auto& info) {
                           return "tp" + std::to_string(std::get<0>(info.param)) + "_d" +
                                  std::to_string(std::get<1>(info.param)) +
                                  (std::get<2>(info.param) ? "_recorded" : "_eager");
                         });

}  // namespace
}  // namespace thinkwire::worker::model
