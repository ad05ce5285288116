#include "worker/parallel/local_communicator.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::parallel {
namespace {

using kernels::DType;
using kernels::MakeTensor;

// Runs body(rank's communicator) on one thread a rank.
void OnRanks(int size, const std::function<void(Communicator&)>& body) {
  const auto communicators =
      OpenLocalCommunicators(std::make_shared<LocalGroup>(size), 0, size, size);
  ASSERT_TRUE(communicators.ok()) << communicators.status();
  std::vector<std::thread> threads;
  for (const auto& communicator : *communicators) {
    threads.emplace_back([&body, &communicator] { body(*communicator); });
  }
  for (std::thread& thread : threads) thread.join();
}

// Values whose sum depends on the order in which they are added.
float ValueOf(int rank, std::int64_t i, int round) {
  const float scale[] = {1.0e8F, 3.7F, -1.0e8F, 0.11F, 2.0e7F, -5.0F};
  return scale[rank] + 0.3F * static_cast<float>(i + round);
}

// Of up to six ranks.
float SumOf(int size, std::int64_t i, int round) {
  const auto value = [&](int rank) { return rank < size ? ValueOf(rank, i, round) : -0.0F; };
  return ((value(0) + value(1)) + (value(2) + value(3))) + (value(4) + value(5));
}

TEST(LocalCommunicator, AllReduceAddsPairsOfNeighboursOnEveryRank) {
  for (const int size : {1, 2, 3, 4, 6}) {
    for (const std::int64_t n : {1, 2, 7, 1000}) {
      OnRanks(size, [&](Communicator& communicator) {
        EXPECT_EQ(communicator.size(), size);
        for (int round = 0; round < 50; ++round) {
          std::vector<float> x;
          for (std::int64_t i = 0; i < n; ++i) x.push_back(ValueOf(communicator.rank(), i, round));
          communicator.AllReduce(MakeTensor(x.data(), DType::kF32, 1, n));
          for (std::int64_t i = 0; i < n; ++i) {
            ASSERT_EQ(x[static_cast<std::size_t>(i)], SumOf(size, i, round));
          }
        }
      });
    }
  }
}

TEST(LocalCommunicator, AllGatherPutsColumnsInRankOrder) {
  for (const int size : {1, 2, 3}) {
    OnRanks(size, [&](Communicator& communicator) {
      const std::int64_t rows = 3;
      const std::int64_t width = 5;
      for (int round = 0; round < 50; ++round) {
        const auto value = [&](int rank, std::int64_t row, std::int64_t column) {
          return static_cast<float>(((round * 10 + rank) * 10 + row) * 10 + column);
        };
        std::vector<float> local;
        for (std::int64_t l = 0; l < rows; ++l) {
          for (std::int64_t c = 0; c < width; ++c) {
            local.push_back(value(communicator.rank(), l, c));
          }
        }
        std::vector<float> out(static_cast<std::size_t>(rows * width * size));
        communicator.AllGatherColumns(MakeTensor(local.data(), DType::kF32, rows, width),
                                      MakeTensor(out.data(), DType::kF32, rows, width * size));
        for (std::int64_t l = 0; l < rows; ++l) {
          for (std::int64_t c = 0; c < width * size; ++c) {
            ASSERT_EQ(out[static_cast<std::size_t>(l * width * size + c)],
                      value(static_cast<int>(c / width), l, c % width));
          }
        }
      }
    });
  }
}

TEST(LocalCommunicator, AllReduceAddRmsNormIsTheTwoInARow) {
  const std::int64_t width = 24;
  OnRanks(2, [&](Communicator& communicator) {
    kernels::CpuBackend backend(1);
    std::vector<float> partial;
    std::vector<float> residual(static_cast<std::size_t>(width), 0.5F);
    std::vector<float> sum;
    for (std::int64_t i = 0; i < width; ++i) {
      partial.push_back(static_cast<float>(i + communicator.rank()));
      sum.push_back(static_cast<float>(2 * i + 1) + 0.5F);
    }
    std::vector<std::uint16_t> weight(static_cast<std::size_t>(width), 0x3FC0);  // 1.5
    std::vector<float> out(static_cast<std::size_t>(width));
    std::vector<float> expected(static_cast<std::size_t>(width));
    const auto tensor = [&](std::vector<float>& x) {
      return MakeTensor(x.data(), DType::kF32, 1, width);
    };
    const auto weights = MakeTensor(weight.data(), DType::kBf16, width);
    communicator.AllReduceAddRmsNorm(backend, {.partial = tensor(partial),
                                               .residual = tensor(residual),
                                               .sum = tensor(residual),
                                               .weight = weights,
                                               .eps = 1e-6F,
                                               .out = tensor(out)});
    backend.RmsNorm(tensor(sum), weights, 1e-6F, tensor(expected));
    EXPECT_EQ(residual, sum);
    EXPECT_EQ(out, expected);
  });
}

}  // namespace
}  // namespace thinkwire::worker::parallel
