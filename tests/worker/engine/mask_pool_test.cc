#include "worker/engine/mask_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>

namespace thinkwire::worker::engine {
namespace {

constexpr std::chrono::microseconds kLong = std::chrono::minutes(5);

TEST(MaskPoolTest, DoesWhatItTookAndSaysSo) {
  std::atomic<int> done = 0;
  std::atomic<int> told = 0;
  {
    MaskPool pool(2, 100, [&told] { ++told; });
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(pool.TryPost([&done] { ++done; }));
    pool.WaitUntilIdle(kLong);
    EXPECT_EQ(done, 100);
  }
  EXPECT_EQ(told, 100);
}

TEST(MaskPoolTest, TakesSoManyAndWaitsSoLong) {
  std::promise<void> begun;
  std::promise<void> go_on;
  MaskPool pool(1, 1, [] {});
  ASSERT_TRUE(pool.TryPost([&] {
    begun.set_value();
    go_on.get_future().wait();
  }));
  begun.get_future().wait();
  std::atomic<bool> done = false;
  EXPECT_TRUE(pool.TryPost([&done] { done = true; }));
  EXPECT_FALSE(pool.TryPost([] {})) << "one waits";
  pool.WaitUntilIdle(std::chrono::microseconds(1));
  EXPECT_FALSE(done);
  go_on.set_value();
  pool.WaitUntilIdle(kLong);
  EXPECT_TRUE(done);
}

}  // namespace
}  // namespace thinkwire::worker::engine
