#include "worker/text_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <thread>
#include <vector>

namespace thinkwire::worker {
namespace {

TEST(TextPoolTest, RunsEveryJobBeforeStopReturns) {
  std::atomic<int> ran = 0;
  TextPool pool(3, 1000);
  for (int i = 0; i < 500; ++i) EXPECT_TRUE(pool.TryPost([&] { ++ran; }));
  pool.Stop();
  EXPECT_EQ(ran, 500);
  EXPECT_FALSE(pool.TryPost([&] { ++ran; }));
  EXPECT_EQ(ran, 500);
}

TEST(TextPoolTest, RefusesWhenTheQueueIsFull) {
  std::latch started(1);
  std::latch release(1);
  TextPool pool(1, 2);
  ASSERT_TRUE(pool.TryPost([&] {
    started.count_down();
    release.wait();
  }));
  started.wait();
  EXPECT_TRUE(pool.TryPost([] {}));
  EXPECT_TRUE(pool.TryPost([] {}));
  EXPECT_FALSE(pool.TryPost([] {}));
  release.count_down();
}

// Fails when two threads are in Run at once, or when a Schedule after the last Run is lost.
class Counter final : public TextPool::Serial {
 public:
  explicit Counter(TextPool& pool) : Serial(pool) {}

  std::atomic<int> wanted = 0;
  int seen = 0;  // written by Run alone, and without a lock
  std::atomic<int> inside = 0;
  std::atomic<bool> overlapped = false;

 private:
  void Run() override {
    if (++inside != 1) overlapped = true;
    seen = wanted;
    std::this_thread::yield();
    --inside;
  }
};

TEST(TextPoolTest, SerialNeverOverlapsAndSeesTheLastSchedule) {
  for (int round = 0; round < 20; ++round) {
    TextPool pool(4, 1);
    std::vector<std::shared_ptr<Counter>> streams;
    for (int i = 0; i < 3; ++i) streams.push_back(std::make_shared<Counter>(pool));
    std::vector<std::thread> producers;
    for (int p = 0; p < 3; ++p) {
      producers.emplace_back([&] {
        for (int i = 0; i < 300; ++i) {
          for (auto& stream : streams) {
            ++stream->wanted;
            stream->Schedule();
          }
        }
      });
    }
    for (auto& producer : producers) producer.join();
    pool.Stop();
    for (auto& stream : streams) {
      EXPECT_EQ(stream->seen, 900);
      EXPECT_FALSE(stream->overlapped);
    }
  }
}

TEST(TextPoolTest, SerialLivesUntilItRan) {
  std::latch release(1);
  TextPool pool(1, 2);
  ASSERT_TRUE(pool.TryPost([&] { release.wait(); }));
  auto stream = std::make_shared<Counter>(pool);
  std::weak_ptr<Counter> watched = stream;
  stream->Schedule();
  stream.reset();
  EXPECT_FALSE(watched.expired());
  release.count_down();
  pool.Stop();
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace thinkwire::worker
