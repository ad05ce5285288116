#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <future>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/fakes/faulty_communicator.h"
#include "tests/worker/parallel/gpu_ranks.h"
#include "worker/parallel/group_watch.h"

namespace thinkwire::worker::parallel {
namespace {

using kernels::DType;
using kernels::MakeTensor;
using kernels::Tensor;
using Bf16s = std::vector<std::uint16_t>;
using Bf16Array = DeviceArray<std::uint16_t>;

constexpr std::int64_t kHidden = 3584;
constexpr std::int64_t kMostTokens = 1000;
constexpr CommunicatorLimits kLimits = {
    .max_tokens = kMostTokens, .hidden = kHidden, .max_rows = 64, .vocab = 8 * 1001};

float Widen(std::uint16_t bf16) {
  const std::uint32_t bits = std::uint32_t{bf16} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// To nearest, ties to even. REQUIRES: finite.
std::uint16_t Narrow(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

// Values of both signs and of sizes from 2^-8 to 2^8. The first rows are the same for any `rows`.
Bf16s PartOf(int rank, std::int64_t rows, std::uint64_t seed) {
  Bf16s part(static_cast<std::size_t>(rows * kHidden));
  std::uint64_t state = seed * 1000003 + static_cast<std::uint64_t>(rank) + 1;
  for (std::uint16_t& value : part) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    const auto random = static_cast<std::uint32_t>(state >> 40);
    const std::uint32_t exponent = 119 + ((random >> 8) & 15U);
    value = static_cast<std::uint16_t>(((random & 1U) << 15) | (exponent << 7) |
                                       ((random >> 1) & 0x7FU));
  }
  return part;
}

Bf16s SumOf(int ranks, std::int64_t rows, std::uint64_t seed) {
  std::vector<float> sums;
  for (int r = 0; r < ranks; ++r) {
    const Bf16s part = PartOf(r, rows, seed);
    sums.resize(part.size());
    for (std::size_t i = 0; i < part.size(); ++i) {
      sums[i] = r == 0 ? Widen(part[i]) : sums[i] + Widen(part[i]);
    }
  }
  Bf16s rounded;
  for (const float sum : sums) rounded.push_back(Narrow(sum));
  return rounded;
}

// Over two GPUs, and over more where there are.
class NcclCommunicatorTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    ranks_ = std::make_unique<GpuRanks>(GetParam(), kLimits);
    if (ranks_->size() == 0) GTEST_SKIP() << ranks_->why_none();
    ASSERT_EQ(ranks_->size(), GetParam());
  }
  std::unique_ptr<GpuRanks> ranks_;
};

TEST_P(NcclCommunicatorTest, AllReduceAddsInRankOrderWhateverT) {
  ranks_->Run([&](const GpuRanks::Rank& rank) {
    Bf16Array x(rank.backend, DType::kBf16, kMostTokens, kHidden);
    rank.meet();
    for (const std::int64_t rows :
         {std::int64_t{1}, std::int64_t{7}, std::int64_t{64}, kMostTokens}) {
      x.SetRows(rows);
      x.Write(PartOf(rank.communicator.rank(), rows, 1));
      rank.communicator.AllReduce(x.tensor());
      EXPECT_EQ(x.Read(), SumOf(GetParam(), rows, 1)) << "T = " << rows;
    }
  });
}

TEST_P(NcclCommunicatorTest, RecordedSumsReplay) {
  ranks_->Run([&](const GpuRanks::Rank& rank) {
    const std::int64_t rows = 3;
    Bf16Array from(rank.backend, DType::kBf16, rows, kHidden);
    const Bf16Array x(rank.backend, DType::kBf16, rows, kHidden);
    const Bf16Array again(rank.backend, DType::kBf16, rows, kHidden);
    const auto replay = rank.backend.Record([&] {
      for (const Tensor& to : {x.tensor(), again.tensor()}) {
        rank.backend.CopyOnDevice(to.data, from.tensor().data, to.bytes());
        rank.communicator.AllReduce(to);
      }
    });
    rank.meet();
    for (std::uint64_t run = 0; run < 100; ++run) {
      from.Write(PartOf(rank.communicator.rank(), rows, run));
      replay->Run();
      if (run % 3 == 0) rank.communicator.AllReduce(x.tensor());  // eager work between replays
      ASSERT_EQ(again.Read(), SumOf(GetParam(), rows, run)) << "run " << run;
    }
  });
}

// The tensors of one AddRmsNorm.
struct NormTensors {
  Bf16Array partial;
  Bf16Array residual;
  Bf16Array weight;
  Bf16Array out;

  NormTensors(kernels::Backend& backend, std::int64_t rows)
      : partial(backend, DType::kBf16, rows, kHidden),
        residual(backend, DType::kBf16, rows, kHidden),
        weight(backend, DType::kBf16, 1, kHidden),
        out(backend, DType::kBf16, rows, kHidden) {
    weight.Write(PartOf(0, 1, 1000));
  }
  kernels::ResidualNorm in_place() const {
    return {.partial = partial.tensor(),
            .residual = residual.tensor(),
            .sum = residual.tensor(),
            .weight = MakeTensor(weight.tensor().data, DType::kBf16, kHidden),
            .eps = 1e-6F,
            .out = out.tensor()};
  }
  void Write(const Bf16s& part, std::uint64_t seed) {
    const std::int64_t rows = static_cast<std::int64_t>(part.size()) / kHidden;
    for (Bf16Array* array : {&partial, &residual, &out}) array->SetRows(rows);
    partial.Write(part);
    residual.Write(PartOf(1, rows, seed + 500));
  }
};

TEST_P(NcclCommunicatorTest, AllReduceAddRmsNormIsTheTwoInARow) {
  ranks_->Run([&](const GpuRanks::Rank& rank) {
    NormTensors fused(rank.backend, 200);
    NormTensors apart(rank.backend, 200);
    rank.meet();
    for (const std::int64_t rows : {1, 2, 64, 128, 200, 3, 1}) {
      const auto seed = static_cast<std::uint64_t>(rows);
      fused.Write(PartOf(rank.communicator.rank(), rows, seed), seed);
      apart.Write(SumOf(GetParam(), rows, seed), seed);
      rank.communicator.AllReduceAddRmsNorm(rank.backend, fused.in_place());
      rank.backend.AddRmsNorm(apart.in_place());
      EXPECT_EQ(fused.residual.Read(), apart.residual.Read()) << "T = " << rows;
      EXPECT_EQ(fused.out.Read(), apart.out.Read()) << "T = " << rows;
    }
  });
}

// The device counts the exchanges, so a replay must go on where other work ended.
TEST_P(NcclCommunicatorTest, RecordedAllReduceAddRmsNormReplaysAmongEagerOnes) {
  constexpr int kLayers = 4;
  ranks_->Run([&](const GpuRanks::Rank& rank) {
    NormTensors fused(rank.backend, 3);
    NormTensors apart(rank.backend, 3);
    const auto layer = [&] {
      rank.communicator.AllReduceAddRmsNorm(rank.backend, fused.in_place());
    };
    const auto replay = rank.backend.Record([&] {
      for (int i = 0; i < kLayers; ++i) layer();
    });
    rank.meet();
    for (std::uint64_t run = 0; run < 100; ++run) {
      fused.Write(PartOf(rank.communicator.rank(), 3, run), run);
      apart.Write(SumOf(GetParam(), 3, run), run);
      replay->Run();
      const int eager = static_cast<int>(run % 3);
      for (int i = 0; i < eager; ++i) layer();
      for (int i = 0; i < kLayers + eager; ++i) {
        rank.backend.AddRmsNorm(apart.in_place());
      }
      ASSERT_EQ(fused.out.Read(), apart.out.Read()) << "run " << run;
    }
  });
}

TEST_P(NcclCommunicatorTest, AllGatherColumnsPutsRanksSideBySide) {
  ranks_->Run([&](const GpuRanks::Rank& rank) {
    const int size = rank.communicator.size();
    const std::int64_t width = kLimits.vocab / 8;
    const auto value = [](std::int64_t r, std::int64_t row, std::int64_t column) {
      return static_cast<float>((r * 100 + row) * 1100 + column);
    };
    DeviceArray<float> from(rank.backend, DType::kF32, kLimits.max_rows, width);
    DeviceArray<float> to(rank.backend, DType::kF32, kLimits.max_rows, width * size);
    rank.meet();
    for (const std::int64_t rows : {std::int64_t{1}, std::int64_t{3}, kLimits.max_rows}) {
      std::vector<float> local;
      for (std::int64_t i = 0; i < rows * width; ++i) {
        local.push_back(value(rank.communicator.rank(), i / width, i % width));
      }
      std::vector<float> expected;
      for (std::int64_t i = 0; i < rows * width * size; ++i) {
        const std::int64_t column = i % (width * size);
        expected.push_back(value(column / width, i / (width * size), column % width));
      }
      from.SetRows(rows);
      to.SetRows(rows);
      from.Write(local);
      rank.communicator.AllGatherColumns(from.tensor(), to.tensor());
      EXPECT_EQ(to.Read(), expected) << "L = " << rows;
    }
  });
}

// As processes and hosts open theirs, but on threads of this one.
TEST(NcclCommunicatorApartTest, RanksThatAreOpenedApartAreOneGroupByItsId) {
  std::string why_none;
  const auto backends = kernels::OpenDevices({.device = "cuda", .ranks = 2}, &why_none);
  if (backends.empty()) GTEST_SKIP() << why_none;
  const auto id = MakeCommunicatorId(*backends.front(), 2);
  ASSERT_TRUE(id.ok()) << id.status();
  const std::span<const std::unique_ptr<kernels::Backend>> all(backends);
  std::vector<std::thread> threads;
  for (int r = 0; r < 2; ++r) {
    threads.emplace_back([&, r] {
      const auto own = all.subspan(static_cast<std::size_t>(r), 1);
      const auto communicators = OpenCommunicators(*id, r, 2, own, kLimits);
      ASSERT_TRUE(communicators.ok()) << communicators.status();
      Communicator& communicator = *communicators->front();
      EXPECT_EQ(communicator.rank(), r);
      Bf16Array x(*own.front(), DType::kBf16, 7, kHidden);
      x.Write(PartOf(r, 7, 1));
      communicator.AllReduce(x.tensor());
      EXPECT_EQ(x.Read(), SumOf(2, 7, 1));
    });
  }
  for (std::thread& thread : threads) thread.join();
}

INSTANTIATE_TEST_SUITE_P(Gpus, NcclCommunicatorTest, testing::Values(2, 4, 8));

[[noreturn]] void Park() {
  std::promise<void>().get_future().wait();
  std::abort();
}

// Two ranks sum for ever, but the second's device faults after some calls and its thread never
// calls CUDA again. Exits with 3 if the process outlives that by two seconds.
[[noreturn]] void RunWithDeviceFault() {
  const GpuRanks ranks(2, kLimits);
  std::promise<void> faulted;
  std::thread([&ranks, &faulted] {
    ranks.Run([&faulted](const GpuRanks::Rank& rank) {
      const Bf16Array x(rank.backend, DType::kBf16, 4, kHidden);
      const DeviceArray<std::int32_t> wild(rank.backend, DType::kI32, 1, 1, {1 << 30});
      rank.meet();
      FaultyCommunicator communicator(
          rank.communicator, rank.communicator.rank() == 1 ? 100 : 1 << 30, [&] {
            rank.backend.GatherRows(x.tensor(), MakeTensor(wild.tensor().data, DType::kI32, 1),
                                    MakeTensor(x.tensor().data, DType::kBf16, 1, kHidden));
            faulted.set_value();
            Park();
          });
      for (;;) {
        communicator.AllReduce(x.tensor());
        rank.backend.Synchronize();
      }
    });
  }).detach();
  faulted.get_future().wait();
  const GroupWatch watch(ranks.communicators());
  std::this_thread::sleep_for(std::chrono::seconds(2));
  std::_Exit(3);
}

TEST(NcclCommunicatorDeathTest, ADeviceErrorOnOneRankEndsTheProcessInTwoSeconds) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::string why_none;
  if (kernels::OpenDevices({.device = "cuda", .ranks = 2}, &why_none).empty()) {
    GTEST_SKIP() << why_none;
  }
  // Each maps the other's memory: both fail.
  EXPECT_EXIT(RunWithDeviceFault(), testing::ExitedWithCode(70), "CUDA error on device [01]");
}

}  // namespace
}  // namespace thinkwire::worker::parallel
