#include "worker/parallel/group_watch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <latch>
#include <memory>
#include <utility>
#include <vector>

#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {
namespace {

// A rank of two whose Check does as the test says.
class CheckedCommunicator final : public Communicator {
 public:
  CheckedCommunicator(int rank, std::function<void()> check, int size = 2)
      : rank_(rank), size_(size), check_(std::move(check)) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void AllReduce(const kernels::Tensor&) override {}
  void AllGatherColumns(const kernels::Tensor&, const kernels::Tensor&) override {}
  void Check() override { check_(); }

 private:
  const int rank_;
  const int size_;
  const std::function<void()> check_;
};

TEST(GroupWatchTest, ARankWhoseCheckIsStuckKeepsNoOtherFromBeingChecked) {
  std::latch stuck(1);
  std::latch checked_often(3);
  std::atomic<int> checks = 0;
  std::vector<std::unique_ptr<Communicator>> ranks;
  ranks.push_back(std::make_unique<CheckedCommunicator>(0, [&] { stuck.wait(); }));
  ranks.push_back(std::make_unique<CheckedCommunicator>(1, [&] {
    if (++checks <= 3) checked_often.count_down();
  }));
  const GroupWatch watch(ranks);
  checked_often.wait();
  stuck.count_down();
}

TEST(GroupWatchTest, ALoneRankIsNotChecked) {
  std::atomic<int> checks = 0;
  std::vector<std::unique_ptr<Communicator>> ranks;
  ranks.push_back(std::make_unique<CheckedCommunicator>(
      0, [&] { ++checks; }, 1));
  { const GroupWatch watch(ranks); }
  EXPECT_EQ(checks, 0);
}

TEST(GroupWatchTest, TheOnlyRankOfThisProcessIsCheckedForTheOthersSake) {
  std::latch checked(1);
  std::atomic<int> checks = 0;
  std::vector<std::unique_ptr<Communicator>> ranks;
  ranks.push_back(std::make_unique<CheckedCommunicator>(1, [&] {
    if (++checks == 1) checked.count_down();
  }));
  const GroupWatch watch(ranks);
  checked.wait();
}

}  // namespace
}  // namespace thinkwire::worker::parallel
