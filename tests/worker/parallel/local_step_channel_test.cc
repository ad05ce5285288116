#include "worker/parallel/local_step_channel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace thinkwire::worker::parallel {
namespace {

TEST(LocalStepChannel, EveryRankReceivesEveryStepInOrder) {
  for (const int ranks : {1, 2, 3}) {
    LocalStepChannel<int> channel(ranks, 2);
    std::vector<std::vector<int>> received(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&channel, &received, rank] {
        while (const auto step = channel.Receive(rank)) {
          received[static_cast<std::size_t>(rank)].push_back(*step);
        }
      });
    }
    std::vector<int> sent;
    for (int i = 0; i < 500; ++i) {
      sent.push_back(i);
      channel.Send(std::make_shared<const int>(i));
    }
    channel.Close();
    for (std::thread& thread : threads) thread.join();
    for (const auto& steps : received) EXPECT_EQ(steps, sent);
  }
}

TEST(LocalStepChannel, SendWaitsForTheSlowestRank) {
  LocalStepChannel<int> channel(2, 1);
  std::atomic<int> sent{0};
  channel.Send(std::make_shared<const int>(0));
  std::thread sender([&] {
    channel.Send(std::make_shared<const int>(1));
    sent = 1;
  });
  EXPECT_EQ(*channel.Receive(0), 0);
  EXPECT_EQ(sent, 0) << "rank 1 has not taken the first step";
  EXPECT_EQ(*channel.Receive(1), 0);
  EXPECT_EQ(*channel.Receive(0), 1);
  EXPECT_EQ(*channel.Receive(1), 1);
  sender.join();
  EXPECT_EQ(sent, 1);
}

TEST(LocalStepChannel, CloseDrainsThenGivesNull) {
  LocalStepChannel<int> channel(1, 2);
  channel.Send(std::make_shared<const int>(7));
  channel.Close();
  channel.Close();
  EXPECT_EQ(*channel.Receive(0), 7);
  EXPECT_EQ(channel.Receive(0), nullptr);
  EXPECT_EQ(channel.Receive(0), nullptr);
}

}  // namespace
}  // namespace thinkwire::worker::parallel
