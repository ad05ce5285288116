#include "tests/fakes/fault.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "worker/kernels/devices.h"
#include "worker/parallel/local_step_channel.h"

namespace thinkwire::worker::model {
namespace {

std::unique_ptr<PlanChannel> Channel() {
  return std::make_unique<parallel::LocalStepChannel<step::Plan>>(2, 2);
}

Devices CpuDevices() {
  Devices devices;
  std::string error;
  devices.backends = kernels::OpenDevices({"cpu", 2, 2}, &error);
  return devices;
}

// Computes nothing.
class IdleRunner final : public ModelRunner {
 public:
  const ModelInfo& info() const override { return info_; }
  const step::Limits& limits() const override { return limits_; }
  void Submit(step::Plan plan) override { steps_.push_back(plan.step); }
  step::Result Collect() override {
    step::Result result{.step = steps_.front()};
    steps_.pop_front();
    return result;
  }
  std::vector<step::RankBeat> beats() const override { return {}; }
  std::vector<double> TakeStepGaps() override { return {}; }

 private:
  const ModelInfo info_{};
  const step::Limits limits_{};
  std::deque<std::uint64_t> steps_;
};

TEST(FaultTest, SlowStepsTakeTheirTimeOneAfterAnother) {
  constexpr std::chrono::milliseconds kStep{2};
  const auto fault = ParseFault("slow_steps:2000");
  ASSERT_TRUE(fault.ok()) << fault.status();
  const auto runner = WithFault(std::make_unique<IdleRunner>(), *fault);
  for (std::uint64_t round = 0; round < 2; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    runner->Submit({.step = 2 * round + 1});
    runner->Submit({.step = 2 * round + 2});
    for (const std::uint64_t in_round : {1, 2}) {
      EXPECT_EQ(runner->Collect().step, 2 * round + in_round);
      EXPECT_GE(std::chrono::steady_clock::now() - begin, in_round * kStep);
    }
  }
}

TEST(FaultTest, WhatIsNotToFailIsNotTouched) {
  const Devices devices = CpuDevices();
  for (const char* text : {"", "stuck_engine:3", "slow_steps:500"}) {
    const auto fault = ParseFault(text);
    ASSERT_TRUE(fault.ok()) << fault.status();
    std::unique_ptr<PlanChannel> plans = Channel();
    const PlanChannel* const same = plans.get();
    const auto with_fault = WithFault(std::move(plans), *fault, devices);
    ASSERT_TRUE(with_fault.ok()) << with_fault.status();
    EXPECT_EQ(with_fault->get(), same) << text;
  }
}

TEST(FaultTest, AStuckRankGetsThePlansBeforeItsFaultAndTheOthersGetAll) {
  const Devices devices = CpuDevices();
  const auto fault = ParseFault("stuck_rank:2:1");
  ASSERT_TRUE(fault.ok()) << fault.status();
  const auto plans = WithFault(Channel(), *fault, devices);
  ASSERT_TRUE(plans.ok()) << plans.status();
  for (const std::uint64_t step : {1, 2}) {
    (*plans)->Send(std::make_shared<const step::Plan>(step::Plan{.step = step}));
    EXPECT_EQ((*plans)->Receive(0)->step, step);
  }
  EXPECT_EQ((*plans)->Receive(1)->step, 1U);
  (*plans)->Close();
  EXPECT_EQ((*plans)->Receive(0), nullptr);
}

TEST(FaultTest, ACpuHasNoErrorOfItsOwn) {
  const auto fault = ParseFault("device_error:2:1");
  ASSERT_TRUE(fault.ok()) << fault.status();
  EXPECT_EQ(WithFault(Channel(), *fault, CpuDevices()).status().message(),
            "the fault device_error needs a GPU");
}

}  // namespace
}  // namespace thinkwire::worker::model
