#include "router/decision/experience.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/router/decision/family.h"

namespace thinkwire::router::decision {
namespace {

TEST(Experience, BeginsWithTheConfiguration) {
  const std::vector<VariantConfig> variants{KnownVariant("qwen-7b"), KnownVariant("qwen-32b")};
  const Experience experience(variants);
  ASSERT_EQ(experience.views().size(), 2u);
  EXPECT_DOUBLE_EQ(experience.views()[1].reasoning[Task::kMath].p50, 6000);
  EXPECT_DOUBLE_EQ(experience.views()[0].answer[Task::kMath].p90, 1000);
}

TEST(Experience, LearnsByVariantAndTask) {
  const std::vector<VariantConfig> variants{KnownVariant("qwen-7b"), KnownVariant("qwen-32b")};
  Experience experience(variants);
  for (int i = 0; i < 100; ++i) {
    experience.Learn({.variant = 1,
                      .task = Task::kCode,
                      .prompt_bytes = 3000,
                      .prompt_tokens = 1500,
                      .reasoning_tokens = 500,
                      .answer_tokens = 50});
  }
  const VariantView& view = experience.views()[1];
  EXPECT_NEAR(view.reasoning[Task::kCode].p50, 500, 60);
  EXPECT_NEAR(view.answer[Task::kCode].p50, 50, 8);
  EXPECT_NEAR(view.bytes_per_token, 2, 0.1);
  EXPECT_DOUBLE_EQ(view.reasoning[Task::kMath].p50, 6000);
  EXPECT_DOUBLE_EQ(experience.views()[0].reasoning[Task::kCode].p50, 3000);
  EXPECT_DOUBLE_EQ(experience.views()[0].bytes_per_token, 4);
}

TEST(Experience, LearnsNoLengthFromWhatALimitEndedNorBytesFromShortPrompts) {
  const std::vector<VariantConfig> variants{KnownVariant("qwen-7b")};
  Experience experience(variants);
  for (int i = 0; i < 100; ++i) {
    experience.Learn({.task = Task::kCode, .prompt_bytes = 10, .prompt_tokens = 40});
  }
  EXPECT_DOUBLE_EQ(experience.views()[0].reasoning[Task::kCode].p50, 3000);
  EXPECT_DOUBLE_EQ(experience.views()[0].bytes_per_token, 4);
}

TEST(Experience, KeepsWhatItHasLearntThroughAnotherConfiguration) {
  std::vector<VariantConfig> variants{KnownVariant("qwen-7b")};
  Experience experience(variants);
  for (const Task task : {Task::kCode, Task::kScience}) {
    for (int i = 0; i < 100; ++i) {
      experience.Learn({.task = task, .reasoning_tokens = 500, .answer_tokens = 50});
    }
  }
  variants[0].traits.reasoning[Task::kScience] = {700, 800};
  variants.push_back(KnownVariant("qwen-32b"));
  experience.Reconfigure(variants);
  ASSERT_EQ(experience.views().size(), 2u);
  EXPECT_NEAR(experience.views()[0].reasoning[Task::kCode].p50, 500, 60);
  EXPECT_DOUBLE_EQ(experience.views()[0].reasoning[Task::kScience].p50, 700);
  EXPECT_NEAR(experience.views()[0].answer[Task::kScience].p50, 50, 8);
  experience.Learn({.variant = 1, .task = Task::kCode, .reasoning_tokens = 500});
}

TEST(LearnPace, TheFirstCountsWholeLaterOnesAFifth) {
  WorkerView worker = IdleWorker(0);
  worker.seconds_per_token = 0;
  LearnPace(0.01, 0, worker);
  EXPECT_DOUBLE_EQ(worker.seconds_per_token, 0.01);
  EXPECT_DOUBLE_EQ(worker.prompt_tokens_per_s, 5000);
  LearnPace(0.02, 10'000, worker);
  EXPECT_DOUBLE_EQ(worker.seconds_per_token, 0.012);
  EXPECT_DOUBLE_EQ(worker.prompt_tokens_per_s, 6000);
}

TEST(LearnPace, IsOfAWorkerWithoutLoad) {
  WorkerView worker = IdleWorker(0);
  worker.seconds_per_token = 0;
  worker.status->running = 16;
  LearnPace(0.02, 0, worker);
  EXPECT_DOUBLE_EQ(worker.seconds_per_token, 0.01);
}

TEST(LearnPace, TellsWhatLoadCosts) {
  WorkerView worker = IdleWorker(0);
  worker.seconds_per_token = 0;
  for (int i = 0; i < 40; ++i) {
    worker.others = i % 2;
    worker.leased = 1 + i % 16 - worker.others;
    worker.waiting = 100;  // in the router, and so in nobody's way
    LearnPace(0.01 * (1 + i % 16), 0, worker);
  }
  EXPECT_NEAR(worker.crowding.growth(), 16, 0.5);
  EXPECT_NEAR(worker.crowding.alone_s(), 0.01, 0.001);
}

}  // namespace
}  // namespace thinkwire::router::decision
