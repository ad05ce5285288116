#include "worker/parallel/communicators.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "worker/kernels/devices.h"

namespace thinkwire::worker::parallel {
namespace {

using kernels::DType;
using kernels::MakeTensor;

constexpr CommunicatorLimits kLimits = {.max_tokens = 4, .hidden = 16, .max_rows = 4, .vocab = 8};

std::vector<std::unique_ptr<kernels::Backend>> OpenCpu(int ranks) {
  std::string error;
  auto backends = kernels::OpenDevices({.device = "cpu", .ranks = ranks, .cpu_threads = 1}, &error);
  EXPECT_EQ(error, "");
  return backends;
}

TEST(OpenCommunicators, GivesEachCpuBackendARankOfOneGroup) {
  const auto backends = OpenCpu(3);
  std::string error;
  const auto communicators = OpenCommunicators(backends, kLimits, &error);
  EXPECT_EQ(error, "");
  ASSERT_EQ(communicators.size(), 3U);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      Communicator& communicator = *communicators[static_cast<std::size_t>(rank)];
      EXPECT_EQ(communicator.rank(), rank);
      EXPECT_EQ(communicator.size(), 3);
      std::vector<float> x = {1.0F + static_cast<float>(rank), 10.0F};
      communicator.AllReduce(MakeTensor(x.data(), DType::kF32, 1, 2));
      EXPECT_EQ(x, (std::vector<float>{6.0F, 30.0F}));
      communicator.Check();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(OpenCommunicators, OneRankKeepsItsSumsAndCopiesItsColumns) {
  const auto backends = OpenCpu(1);
  std::string error;
  const auto communicators = OpenCommunicators(backends, kLimits, &error);
  ASSERT_EQ(communicators.size(), 1U);
  Communicator& communicator = *communicators.front();
  EXPECT_EQ(communicator.rank(), 0);
  EXPECT_EQ(communicator.size(), 1);
  std::vector<float> x = {1.0F, 2.0F, 3.0F, 4.0F};
  const std::vector<float> same = x;
  communicator.AllReduce(MakeTensor(x.data(), DType::kF32, 2, 2));
  EXPECT_EQ(x, same);
  std::vector<float> out(x.size());
  communicator.AllGatherColumns(MakeTensor(x.data(), DType::kF32, 2, 2),
                                MakeTensor(out.data(), DType::kF32, 2, 2));
  EXPECT_EQ(out, same);
}

}  // namespace
}  // namespace thinkwire::worker::parallel
