// Ranks apart from the leader: as on another host, but for the host.
#include "worker/model/rank_group.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "tests/worker/model/local_plans.h"
#include "tests/worker/model/model_files.h"
#include "tests/worker/model/step_driver.h"
#include "worker/kernels/devices.h"
#include "worker/model/checkpoint/model_files.h"
#include "worker/model/leader_runner.h"
#include "worker/parallel/communicators.h"
#include "worker/parallel/local_communicator.h"
#include "worker/parallel/local_step_channel.h"
#include "worker/step/plan_encoding.h"

namespace thinkwire::worker::model {
namespace {

constexpr int kRanks = 2;

// What stands for a connection: plans travel as bytes, and each end has an object of its own.
using Wire = parallel::LocalStepChannel<std::string>;

class WirePlans final : public PlanChannel {
 public:
  // `wire` must outlive the channel.
  explicit WirePlans(Wire& wire) : wire_(wire) {}

  void Send(std::shared_ptr<const step::Plan> plan) override {
    wire_.Send(std::make_shared<const std::string>(step::EncodePlan(*plan)));
  }
  std::shared_ptr<const step::Plan> Receive(int rank) override {
    const std::shared_ptr<const std::string> bytes = wire_.Receive(rank);
    if (bytes == nullptr) return nullptr;
    auto plan = step::DecodePlan(*bytes);
    CHECK(plan.has_value(), "what was sent is a plan");
    return std::make_shared<const step::Plan>(*std::move(plan));
  }
  void Close() override { wire_.Close(); }

 private:
  Wire& wire_;
};

ModelOptions Options() {
  ModelOptions options;
  options.model_dir = ModelDir("qwen2");
  options.device = "cpu";
  options.cpu_threads = kRanks;
  options.tensor_parallel_size = kRanks;
  options.max_model_len = 128;
  options.max_num_seqs = 3;
  options.max_num_batched_tokens = 64;
  return options;
}

// The device and the communicator of one rank alone.
Devices DevicesOf(int rank, const parallel::CommunicatorId& id) {
  Devices devices;
  std::string error;
  devices.backends = kernels::OpenDevices({"cpu", 1, 1}, &error);
  auto communicators = parallel::OpenCommunicators(id, rank, kRanks, devices.backends, {});
  CHECK(communicators.ok(), "a rank of the group");
  devices.communicators = *std::move(communicators);
  return devices;
}

std::vector<Drawn> Generate(step::Runner& runner) {
  StepDriver driver(runner);
  step::SamplingParams params;
  for (step::PhaseSampling& phase : params.phases) phase.temperature = 1.0F;
  params.seed = 7;
  driver.Begin(1, params, {{5, 2.0F}});
  return driver.Generate(1, {3, 1, 4, 1, 5, 9, 2, 6}, 20, 3, runner.limits().max_in_flight);
}

TEST(RankGroupTest, ARankApartFromTheLeaderGivesTheBitsOfRanksTogether) {
  const ModelOptions options = Options();
  const auto together = LoadModel(options, LocalPlans(options));
  ASSERT_TRUE(together.ok()) << together.status();
  const std::unique_ptr<ModelFiles> files = OpenModelFiles(options.model_dir);
  const auto config = files->Config();
  ASSERT_TRUE(config.ok()) << config.status();
  RankGroup::Parts parts = {.plan = MakePlan(*config), .limits = (*together)->limits()};
  const auto source = files->Weights(parts.plan);
  ASSERT_TRUE(source.ok()) << source.status();
  const parallel::CommunicatorId id{.bytes = {},
                                    .local = std::make_shared<parallel::LocalGroup>(kRanks)};
  Wire wire(kRanks, options.max_in_flight);

  WirePlans follower_plans(wire);
  const Devices follower_devices = DevicesOf(1, id);
  const RankGroup follower(parts, **source, follower_devices, follower_plans);
  EXPECT_EQ(follower.results(), nullptr);
  LeaderRunner leader({.ranks = parts,
                       .info = {},
                       .devices = DevicesOf(0, id),
                       .plans = std::make_unique<WirePlans>(wire)},
                      **source);

  EXPECT_EQ(Generate(leader), Generate(**together));
  EXPECT_EQ(leader.beats().size(), 1U);
  EXPECT_EQ(follower.beats().size(), 1U);
  EXPECT_EQ(leader.info().weight_bytes + follower.loaded().weight_bytes,
            (*together)->info().weight_bytes);
}

}  // namespace
}  // namespace thinkwire::worker::model
