#include "worker/kernels/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

namespace thinkwire::worker::kernels {
namespace {

TEST(ThreadPool, CoversEachIndexOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (const std::int64_t n : {0, 1, 7, 64, 1000}) {
      for (const std::int64_t chunk : {1, 3, 64, 2000}) {
        std::vector<std::atomic<int>> seen(static_cast<std::size_t>(n));
        pool.For(n, chunk, [&](std::int64_t begin, std::int64_t end, int thread) {
          EXPECT_TRUE(thread >= 0 && thread < threads);
          EXPECT_LE(end - begin, chunk);
          for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        });
        for (const auto& count : seen) ASSERT_EQ(count.load(), 1);
      }
    }
  }
}

TEST(ThreadPool, LoopsOfDifferentLengthsFollowEachOtherWithoutMixing) {
  ThreadPool pool(4);
  std::vector<std::int64_t> sums(4 * 16);
  std::int64_t expected = 0;
  for (std::int64_t loop = 0; loop < 20000; ++loop) {
    const std::int64_t n = loop % 13 + 2;
    expected += n * (loop + 1);
    pool.For(n, 1, [&](std::int64_t begin, std::int64_t end, int thread) {
      sums[static_cast<std::size_t>(thread * 16)] += (end - begin) * (loop + 1);
    });
  }
  std::int64_t total = 0;
  for (const std::int64_t sum : sums) total += sum;
  EXPECT_EQ(total, expected);
}

TEST(ThreadPool, ResultsAreVisibleWhenForReturns) {
  ThreadPool pool(3);
  std::vector<int> values(500);
  for (int round = 1; round <= 200; ++round) {
    pool.For(500, 10, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t i = begin; i < end; ++i) values[static_cast<std::size_t>(i)] += 1;
    });
    for (const int value : values) ASSERT_EQ(value, round);
  }
}

}  // namespace
}  // namespace thinkwire::worker::kernels
