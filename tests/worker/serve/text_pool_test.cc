#include "worker/serve/text_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/clock.h"
#include "tests/fakes/fake_clock.h"
#include "tests/worker/serve/busy_thread.h"

namespace thinkwire::worker::serve {
namespace {

TEST(TextPoolTest, RunsEveryJobBeforeStopReturns) {
  std::atomic<int> ran = 0;
  TextPool pool(3, 1000, Clock::Real());
  for (std::size_t i = 0; i < 500; ++i) {
    EXPECT_TRUE(pool.TryPost("", i % 2 * TextPool::kLongBytes, [&] { ++ran; }));
  }
  pool.Stop();
  EXPECT_EQ(ran, 500);
  EXPECT_FALSE(pool.TryPost("", 0, [&] { ++ran; }));
  EXPECT_EQ(ran, 500);
}

TEST(TextPoolTest, RefusesWhenTheQueueIsFull) {
  TextPool pool(1, 2, Clock::Real());
  BusyThread busy(pool, 0);
  EXPECT_TRUE(pool.TryPost("", 0, [] {}));
  EXPECT_TRUE(pool.TryPost("", TextPool::kLongBytes, [] {}));
  EXPECT_FALSE(pool.TryPost("", 0, [] {}));
  EXPECT_FALSE(pool.TryPost("", TextPool::kLongBytes, [] {}));
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
    TextPool pool(4, 1, Clock::Real());
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
  TextPool pool(1, 2, Clock::Real());
  auto busy = std::make_unique<BusyThread>(pool, 0);
  auto stream = std::make_shared<Counter>(pool);
  std::weak_ptr<Counter> watched = stream;
  stream->Schedule();
  stream.reset();
  EXPECT_FALSE(watched.expired());
  busy.reset();
  pool.Stop();
  EXPECT_TRUE(watched.expired());
}

// Writes its name down when it runs.
class Named final : public TextPool::Serial {
 public:
  Named(TextPool& pool, std::string name, std::string& ran)
      : Serial(pool), name_(std::move(name)), ran_(ran) {}

 private:
  void Run() override { ran_ += name_; }

  const std::string name_;
  std::string& ran_;
};

TEST(TextPoolTest, RunningStreamsGoBeforeEveryPromptThatWaits) {
  FakeClock clock;
  TextPool pool(1, 10, clock);
  std::string ran;
  {
    BusyThread busy(pool, 0);
    EXPECT_TRUE(pool.TryPost("a", 0, [&] { ran += " prompt"; }));
    clock.Advance(std::chrono::hours(1));
    std::make_shared<Named>(pool, " stream", ran)->Schedule();
    std::make_shared<Named>(pool, " too", ran)->Schedule();
  }
  pool.Stop();
  EXPECT_EQ(ran, " stream too prompt");
}

// A prompt that takes so long by the clock; whether it has run.
class LongPrompt {
 public:
  LongPrompt(TextPool& pool, FakeClock& clock, Clock::Duration takes = {}) {
    EXPECT_TRUE(pool.TryPost("", TextPool::kLongBytes, [this, &clock, takes] {
      clock.Advance(takes);
      ran_.set_value();
    }));
  }
  bool RanWithin(std::chrono::milliseconds time) {
    return future_.wait_for(time) == std::future_status::ready;
  }

 private:
  std::promise<void> ran_;
  std::future<void> future_ = ran_.get_future();
};

constexpr std::chrono::seconds kPatience{60};

TEST(TextPoolTest, LongPromptsRestWhileStreamsRun) {
  FakeClock clock;
  TextPool pool(2, 10, clock);
  std::string ran;
  std::make_shared<Named>(pool, "stream", ran)->Schedule();
  LongPrompt first(pool, clock, std::chrono::milliseconds(10));
  EXPECT_TRUE(first.RanWithin(kPatience));
  LongPrompt second(pool, clock);
  std::promise<void> between;
  EXPECT_TRUE(pool.TryPost("", 0, [&] { between.set_value(); }));
  between.get_future().wait();  // short ones do not rest
  EXPECT_FALSE(second.RanWithin(std::chrono::milliseconds(20)));
  clock.Advance(TextPool::kRest * std::chrono::milliseconds(10));
  EXPECT_TRUE(second.RanWithin(kPatience));
  pool.Stop();
  EXPECT_EQ(ran, "stream");
}

TEST(TextPoolTest, LongPromptsDoNotRestWhereNoStreamRuns) {
  FakeClock clock;
  TextPool pool(2, 10, clock);
  std::string ran;
  std::make_shared<Named>(pool, "stream", ran)->Schedule();
  LongPrompt first(pool, clock, TextPool::kStreamsPause);
  EXPECT_TRUE(first.RanWithin(kPatience));
  LongPrompt second(pool, clock);
  EXPECT_TRUE(second.RanWithin(kPatience));
  pool.Stop();
}

TEST(TextPoolTest, PeersTakeTurns) {
  TextPool pool(1, 20, Clock::Real());
  std::string ran;
  {
    BusyThread busy(pool, 0);
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.TryPost("a", 0, [&] { ran += "a"; }));
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(pool.TryPost("b", 0, [&] { ran += "b"; }));
  }
  pool.Stop();
  EXPECT_EQ(ran, "ababab");
}

TEST(TextPoolTest, OnePeerLeavesPlacesToOthers) {
  TextPool pool(1, 18, Clock::Real());
  BusyThread busy(pool, 0);
  int posted = 0;
  while (pool.TryPost("a", 0, [] {})) ++posted;
  EXPECT_EQ(posted, 16);
  EXPECT_TRUE(pool.TryPost("b", 0, [] {}));
}

TEST(TextPoolTest, LongPromptsLeaveAThreadToOthers) {
  TextPool pool(3, 10, Clock::Real());
  std::atomic<bool> third_ran = false;
  {
    BusyThread first(pool, TextPool::kLongBytes);
    BusyThread second(pool, TextPool::kLongBytes);
    EXPECT_TRUE(pool.TryPost("", TextPool::kLongBytes, [&] { third_ran = true; }));
    for (int i = 0; i < 100; ++i) {
      BusyThread short_one(pool, TextPool::kLongBytes - 1);
      EXPECT_FALSE(third_ran);
    }
  }
  pool.Stop();
  EXPECT_TRUE(third_ran);
}

TEST(TextPoolTest, TheOnlyThreadReadsLongPromptsToo) {
  TextPool pool(1, 10, Clock::Real());
  const BusyThread busy(pool, TextPool::kLongBytes);
}

}  // namespace
}  // namespace thinkwire::worker::serve
