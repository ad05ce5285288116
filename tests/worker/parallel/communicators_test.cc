#include "worker/parallel/communicators.h"

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
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

CommunicatorId NewId(const std::vector<std::unique_ptr<kernels::Backend>>& backends, int size) {
  const auto id = MakeCommunicatorId(*backends.front(), size);
  EXPECT_TRUE(id.ok()) << id.status();
  return id.ok() ? *id : CommunicatorId{};
}

void ExpectOneGroupOfThree(const std::vector<std::unique_ptr<Communicator>>& communicators) {
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

TEST(OpenCommunicators, GivesEachCpuBackendARankOfOneGroup) {
  const auto backends = OpenCpu(3);
  const auto communicators = OpenCommunicators(NewId(backends, 3), 0, 3, backends, kLimits);
  ASSERT_TRUE(communicators.ok()) << communicators.status();
  ASSERT_EQ(communicators->size(), 3U);
  ExpectOneGroupOfThree(*communicators);
}

TEST(OpenCommunicators, RanksThatAreOpenedApartAreOneGroupByItsId) {
  const auto backends = OpenCpu(3);
  const CommunicatorId id = NewId(backends, 3);
  const std::span<const std::unique_ptr<kernels::Backend>> all(backends);
  auto later = OpenCommunicators(id, 1, 3, all.subspan(1), kLimits);
  auto first = OpenCommunicators(id, 0, 3, all.first(1), kLimits);
  ASSERT_TRUE(later.ok() && first.ok()) << later.status() << first.status();
  ASSERT_EQ(first->size(), 1U);
  ASSERT_EQ(later->size(), 2U);
  for (auto& communicator : *later) first->push_back(std::move(communicator));
  ExpectOneGroupOfThree(*first);
}

TEST(OpenCommunicators, RefusesCpuRanksThatAreInNoSuchGroup) {
  const auto backends = OpenCpu(2);
  const CommunicatorId id = NewId(backends, 2);
  EXPECT_TRUE(absl::IsInvalidArgument(OpenCommunicators(id, 1, 2, backends, kLimits).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenCommunicators(id, 0, 4, backends, kLimits).status()));
  // Another process has the id's bytes alone.
  const CommunicatorId elsewhere{.bytes = id.bytes, .local = nullptr};
  EXPECT_TRUE(
      absl::IsInvalidArgument(OpenCommunicators(elsewhere, 0, 2, backends, kLimits).status()));
}

TEST(OpenCommunicators, OneRankKeepsItsSumsAndCopiesItsColumns) {
  const auto backends = OpenCpu(1);
  const auto communicators = OpenCommunicators(NewId(backends, 1), 0, 1, backends, kLimits);
  ASSERT_TRUE(communicators.ok()) << communicators.status();
  ASSERT_EQ(communicators->size(), 1U);
  Communicator& communicator = *communicators->front();
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
