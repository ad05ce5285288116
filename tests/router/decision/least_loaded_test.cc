#include "router/decision/least_loaded.h"

#include <gtest/gtest.h>

#include <vector>

namespace thinkwire::router::decision {
namespace {

// Two equal workers of variant 0, live and idle, and one of variant 1.
std::vector<WorkerView> Three() {
  const WorkerStatus idle = {.max_num_seqs = 16, .free_kv_blocks = 100, .total_kv_blocks = 100};
  return {{.variant = 0, .address = "a:1", .status = idle},
          {.variant = 0, .address = "b:1", .status = idle},
          {.variant = 1, .address = "c:1", .status = idle}};
}

std::size_t Choose(const std::vector<WorkerView>& workers, std::size_t variant = 0) {
  const auto choice = ChooseLeastLoaded(variant, workers);
  EXPECT_TRUE(choice.has_value());
  return choice ? choice->worker : workers.size();
}

TEST(ChooseLeastLoaded, TakesTheOneWithFewestRequestsQueuedAndRunning) {
  auto workers = Three();
  workers[0].status->running = 1;
  EXPECT_EQ(Choose(workers), 1U);
  workers[1].status->queued = 2;
  EXPECT_EQ(Choose(workers), 0U);
}

TEST(ChooseLeastLoaded, AWorkerWithManyPlacesIsLessLoadedByAsManyRequests) {
  auto workers = Three();
  workers[0].status->running = 5;
  workers[0].status->max_num_seqs = 1000;
  EXPECT_EQ(Choose(workers), 0U);
}

TEST(ChooseLeastLoaded, AnIdleWorkerWithMorePlacesIsLessLoaded) {
  auto workers = Three();
  workers[1].status->max_num_seqs = 17;
  EXPECT_EQ(Choose(workers), 1U);
}

TEST(ChooseLeastLoaded, LeasesCountWhereTheStatusDoesNotTellOfThem) {
  auto workers = Three();
  workers[0].leased = 1;
  EXPECT_EQ(Choose(workers), 1U);
  workers[1].leased = 1;
  workers[1].status->running = 1;  // the same request, not a second one
  EXPECT_EQ(Choose(workers), 0U);
  workers[1].status->running = 2;  // another router's
  workers[0].leased = 2;
  EXPECT_EQ(Choose(workers), 0U);
  workers[0].leased = 3;
  EXPECT_EQ(Choose(workers), 1U);
}

TEST(ChooseLeastLoaded, EqualLoadsAreToldApartByFreeBlocksThenByWhatTheyWereGiven) {
  auto workers = Three();
  EXPECT_EQ(Choose(workers), 0U);
  workers[0].given = 1;
  EXPECT_EQ(Choose(workers), 1U);
  workers[0].status->free_kv_blocks = 101;
  EXPECT_EQ(Choose(workers), 0U);
}

TEST(ChooseLeastLoaded, OnlyLiveWorkersOfTheVariantCount) {
  auto workers = Three();
  EXPECT_EQ(Choose(workers, 1), 2U);
  workers[0].status->draining = true;
  workers[1].status->running = 9;
  EXPECT_EQ(Choose(workers), 1U);
  workers[1].status.reset();
  EXPECT_FALSE(ChooseLeastLoaded(0, workers).has_value());
  EXPECT_FALSE(ChooseLeastLoaded(7, workers).has_value());
  EXPECT_FALSE(ChooseLeastLoaded(0, {}).has_value());
}

TEST(ChooseLeastLoaded, TheReasonTellsOfTheWorkerAndItsRivals) {
  auto workers = Three();
  EXPECT_EQ(ChooseLeastLoaded(0, workers)->reason,
            "the one of 2 live ones with least to do: 0 queued, 0 running");
  workers[2].status->queued = 1;
  workers[2].status->running = 16;
  EXPECT_EQ(ChooseLeastLoaded(1, workers)->reason, "the only live one: 1 queued, 16 running");
}

TEST(ChooseLeastLoaded, PassesOverWhatWasTried) {
  const std::vector<WorkerView> workers = {{.variant = 0, .status = WorkerStatus{}},
                                           {.variant = 0, .status = WorkerStatus{.running = 5}},
                                           {.variant = 1, .status = WorkerStatus{}}};
  const std::size_t first[] = {0};
  const std::size_t both[] = {1, 0};
  EXPECT_EQ(ChooseLeastLoaded(0, workers)->worker, 0u);
  const auto second = ChooseLeastLoaded(0, workers, first);
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->worker, 1u);
  EXPECT_NE(second->reason.find("the only live one"), std::string::npos);
  EXPECT_FALSE(ChooseLeastLoaded(0, workers, both).has_value());
}

}  // namespace
}  // namespace thinkwire::router::decision
