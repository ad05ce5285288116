#include "tests/bench/serve_memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <vector>

namespace thinkwire::bench {
namespace {

TEST(MemoryTest, ReadsTheAnonymousPartOfAStatusFile) {
  EXPECT_EQ(
      ParseMemory("Name:\tx\nVmRSS:\t     900 kB\nRssAnon:\t     512 kB\nRssFile:\t 388 kB\n"),
      512 * 1024);
  EXPECT_EQ(ParseMemory("Name:\tx\n"), std::nullopt);
  EXPECT_EQ(ParseMemory("RssAnon:\t lots kB\n"), std::nullopt);
  EXPECT_GT(ReadMemory(getpid()).value_or(0), 1 << 16);
  EXPECT_EQ(ReadMemory(0), std::nullopt);
}

TEST(MemoryTest, TheSlopeIsThatOfTheLineThroughTheLaterSamples) {
  std::vector<MemorySample> samples = {{0, 9e9}, {50, 7e9}};  // filling caches
  for (int i = 100; i < 200; i += 5) {
    // 10 bytes a second, with noise that has none.
    samples.push_back({static_cast<double>(i), 5000 + 10.0 * i + (i % 10 == 0 ? 3 : -3)});
  }
  EXPECT_NEAR(*SlopePerHour(samples, 100), 36000, 500);
  EXPECT_LT(*SlopePerHour(samples, 0), 0);
}

TEST(MemoryTest, ASlopeNeedsTwoTimes) {
  EXPECT_EQ(SlopePerHour({}, 0), std::nullopt);
  EXPECT_EQ(SlopePerHour(std::vector<MemorySample>{{1, 5}, {2, 6}}, 2), std::nullopt);
  EXPECT_EQ(SlopePerHour(std::vector<MemorySample>{{1, 5}, {1, 6}}, 0), std::nullopt);
}

TEST(MemoryTest, LooksAgainAfterAnInterval) {
  MemoryWatch watch({getpid(), 0});
  for (const double seconds : {0.0, 1.0, 4.9, 5.1, 6.0, 10.2}) watch.LookAt(seconds);
  ASSERT_EQ(watch.processes().size(), 2U);
  ASSERT_EQ(watch.processes()[0].samples.size(), 3U);
  EXPECT_EQ(watch.processes()[0].samples[1].seconds, 5.1);
  EXPECT_TRUE(watch.processes()[1].samples.empty());
}

}  // namespace
}  // namespace thinkwire::bench
