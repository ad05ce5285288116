#include "tests/fakes/fault.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

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

TEST(FaultTest, WhatIsNotToFailIsNotTouched) {
  const Devices devices = CpuDevices();
  for (const char* text : {"", "stuck_engine:3"}) {
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
