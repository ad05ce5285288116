#include "worker/model/step/result_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <semaphore>
#include <thread>
#include <vector>

#include "tests/fakes/async_backend.h"
#include "worker/kernels/cpu/cpu_backend.h"
#include "worker/model/step/sampler.h"

namespace thinkwire::worker::model {
namespace {

using testing::ElementsAre;

step::Limits Limits(std::int32_t max_in_flight) {
  step::Limits limits;
  limits.max_num_seqs = 4;
  limits.max_in_flight = max_in_flight;
  return limits;
}

kernels::Tensor Drawn(std::vector<std::int32_t>& words) {
  return kernels::MakeTensor(words.data(), kernels::DType::kI32, 3,
                             static_cast<std::int64_t>(words.size()) / 3);
}

step::Plan PlanOfOne(std::uint64_t step) {
  step::Plan plan;
  plan.step = step;
  plan.rows.push_back({.slot = 1, .draws = 1});
  return plan;
}

TEST(ResultQueueTest, GivesEachRowThatDrawsWhatItDrew) {
  kernels::CpuBackend backend(1);
  ResultQueue queue(Limits(1), backend);
  step::Plan plan;
  plan.step = 1;
  plan.rows = {{.slot = 3, .draws = 1, .logprob = true}, {.slot = 0}, {.slot = 2, .draws = 1}};
  // Of three rows, as after padding.
  std::vector<std::int32_t> words = {
      40, 41, 0, std::bit_cast<std::int32_t>(-0.5F), std::bit_cast<std::int32_t>(-2.0F), 0,
      0,  1,  0};
  queue.Push(1, Drawn(words));
  const step::Result result = queue.Pop(plan);
  EXPECT_EQ(result.step, 1U);
  EXPECT_THAT(result.ids, ElementsAre(40, 41));
  EXPECT_THAT(result.logprobs, ElementsAre(-0.5F, 0.0F));
  ASSERT_EQ(result.rows.size(), 2U);
  EXPECT_EQ(result.rows[0].slot, 3);
  EXPECT_EQ(result.rows[0].first_id, 0);
  EXPECT_FALSE(result.rows[0].not_finite);
  EXPECT_EQ(result.rows[1].slot, 2);
  EXPECT_EQ(result.rows[1].first_id, 1);
  EXPECT_TRUE(result.rows[1].not_finite);
}

TEST(ResultQueueTest, GivesRowsTheAlternativesThatTheyAskedFor) {
  kernels::CpuBackend backend(1);
  ResultQueue queue(Limits(1), backend);
  step::Plan plan;
  plan.step = 1;
  plan.rows = {{.slot = 3, .draws = 1, .logprob = true, .alternatives = 2},
               {.slot = 1, .draws = 1, .logprob = true},
               {.slot = 2, .draws = 1, .logprob = true, .alternatives = 1}};
  constexpr std::int64_t kRows = 4;
  const auto place = [](std::int64_t row, std::int64_t i) {
    return static_cast<std::size_t>(3 * kRows + row * step::kMaxAlternatives + i);
  };
  std::vector<std::int32_t> words(static_cast<std::size_t>(kDrawnMost * kRows));
  const std::size_t logprobs = static_cast<std::size_t>(kRows * step::kMaxAlternatives);
  const auto set = [&](std::int64_t row, std::int64_t i, std::int32_t id, float logprob) {
    words[place(row, i)] = id;
    words[place(row, i) + logprobs] = std::bit_cast<std::int32_t>(logprob);
  };
  set(0, 0, 7, -0.5F);
  set(0, 1, 9, -1.5F);
  set(2, 0, 8, -0.25F);
  queue.Push(1, kernels::MakeTensor(words.data(), kernels::DType::kI32, kDrawnMost, kRows));
  const step::Result result = queue.Pop(plan);
  EXPECT_THAT(result.alternatives,
              ElementsAre(step::Alternative{7, -0.5F}, step::Alternative{9, -1.5F},
                          step::Alternative{8, -0.25F}));
  EXPECT_EQ(result.rows[0].first_alternative, 0);
  EXPECT_EQ(result.rows[1].first_alternative, 2);
  EXPECT_EQ(result.rows[2].first_alternative, 2);
}

TEST(ResultQueueTest, GivesARowAllItsDraws) {
  kernels::CpuBackend backend(1);
  ResultQueue queue(Limits(1), backend);
  step::Plan plan;
  plan.step = 1;
  plan.rows = {{.slot = 3, .count = 5, .draws = 2, .logprob = true, .alternatives = 1},
               {.slot = 0, .count = 2},
               {.slot = 2, .count = 2, .draws = 2}};
  constexpr std::int64_t kRows = 4;
  std::vector<std::int32_t> words(static_cast<std::size_t>(kDrawnMost * kRows));
  const std::vector<std::int32_t> drawn = {40, 41, 42, 43};
  std::ranges::copy(drawn, words.begin());
  words[kRows + 1] = std::bit_cast<std::int32_t>(-0.5F);
  words[2 * kRows + 3] = 1;
  words[3 * kRows] = 7;
  words[3 * kRows + step::kMaxAlternatives] = 8;
  queue.Push(1, kernels::MakeTensor(words.data(), kernels::DType::kI32, kDrawnMost, kRows));
  const step::Result result = queue.Pop(plan);
  EXPECT_THAT(result.ids, ElementsAre(40, 41, 42, 43));
  EXPECT_THAT(result.logprobs, ElementsAre(0.0F, -0.5F, 0.0F, 0.0F));
  ASSERT_EQ(result.rows.size(), 2U);
  EXPECT_EQ(result.rows[0].num_ids, 2);
  EXPECT_FALSE(result.rows[0].not_finite);
  EXPECT_EQ(result.rows[1].first_id, 2);
  EXPECT_EQ(result.rows[1].num_ids, 2);
  EXPECT_TRUE(result.rows[1].not_finite);
  ASSERT_EQ(result.alternatives.size(), 2U);
  EXPECT_EQ(result.alternatives[0].id, 7);
  EXPECT_EQ(result.alternatives[1].id, 8);
}

// A step that draws nothing has its turn too: its KV blocks are free once it is done.
TEST(ResultQueueTest, WaitsForTheDeviceEvenIfNothingIsDrawn) {
  kernels::AsyncBackend backend(1, false);
  ResultQueue queue(Limits(1), backend);
  step::Plan plan;
  plan.step = 1;
  plan.rows = {{.slot = 0}};
  bool done = false;
  backend.Hold();
  backend.Give([&done] { done = true; });
  queue.Push(1, kernels::MakeTensor(nullptr, kernels::DType::kI32, 3, 0));
  std::thread release([&backend] { backend.Release(); });
  EXPECT_TRUE(queue.Pop(plan).rows.empty());
  EXPECT_TRUE(done);
  release.join();
}

// Every step's result is asked for before, while or after it is pushed: no wake-up may be lost, no
// result overwritten.
void RunThousandsOfSteps(kernels::Backend& backend, std::int32_t max_in_flight) {
  constexpr std::int32_t kSteps = 5000;
  ResultQueue queue(Limits(max_in_flight), backend);
  std::counting_semaphore<8> room(max_in_flight);
  std::thread rank([&] {
    std::vector<std::int32_t> words(3);
    const kernels::Buffer drawn = backend.Allocate(3 * sizeof(std::int32_t));
    for (std::int32_t step = 1; step <= kSteps; ++step) {
      room.acquire();
      words = {step, 0, step % 2};
      backend.CopyToDevice(drawn.data(), words.data(), 3 * sizeof(std::int32_t));
      queue.Push(static_cast<std::uint64_t>(step),
                 kernels::MakeTensor(drawn.data(), kernels::DType::kI32, 3, 1));
    }
    backend.Synchronize();
  });
  for (std::int32_t step = 1; step <= kSteps; ++step) {
    const step::Result result = queue.Pop(PlanOfOne(static_cast<std::uint64_t>(step)));
    EXPECT_EQ(result.ids.at(0), step);
    EXPECT_EQ(result.rows.at(0).not_finite, step % 2 == 1);
    room.release();
  }
  rank.join();
}

TEST(ResultQueueTest, LosesNoWakeUpAndNoResult) {
  for (const std::int32_t max_in_flight : {1, 2}) {
    kernels::CpuBackend cpu(1);
    RunThousandsOfSteps(cpu, max_in_flight);
    kernels::AsyncBackend async(1, false);
    RunThousandsOfSteps(async, max_in_flight);
  }
}

}  // namespace
}  // namespace thinkwire::worker::model
