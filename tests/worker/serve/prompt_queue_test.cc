#include "worker/serve/prompt_queue.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <map>
#include <random>
#include <string>

namespace thinkwire::worker::serve {
namespace {

using Length = PromptQueue::Length;

class PromptQueueTest : public testing::Test {
 protected:
  void Add(const std::string& peer, std::size_t bytes, const std::string& name,
           Length length = Length::kShort) {
    queue_.Add(peer, bytes, length, now_, {[this, name] { ran_ += name; }, {}});
  }

  // Runs up to `count` prompts and returns their names.
  std::string Run(int count, bool long_too = true) {
    ran_.clear();
    for (int i = 0; i < count; ++i) {
      const auto taken = queue_.Take(long_too);
      if (!taken) break;
      taken->job.run();
    }
    return ran_;
  }

  PromptQueue queue_;
  Clock::TimePoint now_{};
  std::string ran_;
};

TEST_F(PromptQueueTest, APeersPromptsRunByTheirArrivalAndTheirLength) {
  Add("a", 1'000'000, "long ");
  Add("a", 2'000, "page ");
  Add("a", 0, "first ");
  Add("a", 0, "second ");
  now_ += std::chrono::milliseconds(1);
  Add("a", 900, "line ");
  now_ += std::chrono::milliseconds(1000);
  Add("a", 0, "late");
  EXPECT_EQ(Run(6), "first second line page long late");
}

TEST_F(PromptQueueTest, ANewcomerIsNotBehindWhatAnotherHasWaiting) {
  for (int i = 0; i < 1000; ++i) Add("flood", 127 << 10, "F");
  EXPECT_EQ(Run(3), "FFF");
  now_ += std::chrono::hours(1);
  Add("b", 100, "b");
  EXPECT_EQ(Run(2), "bF");
}

TEST_F(PromptQueueTest, PeersGetEqualPartsOfTheBytes) {
  for (int i = 0; i < 100; ++i) Add("a", 15 << 10, "A");
  for (int i = 0; i < 100; ++i) Add("b", 7 << 10, "b");
  for (int i = 0; i < 100; ++i) Add("c", 3 << 10, "c");
  std::map<char, int> times;
  for (const char name : Run(70)) ++times[name];
  EXPECT_EQ(times['A'], 10);
  EXPECT_EQ(times['b'], 20);
  EXPECT_EQ(times['c'], 40);
}

TEST_F(PromptQueueTest, WhoWasAwayHasSavedNothingUp) {
  Add("a", 1 << 10, "a");
  for (int i = 0; i < 100; ++i) Add("b", 1 << 10, "b");
  EXPECT_EQ(Run(51), "ab" + std::string(49, 'b'));
  for (int i = 0; i < 100; ++i) Add("a", 1 << 10, "a");
  EXPECT_EQ(Run(8), "abababab");
}

TEST_F(PromptQueueTest, LongOnesWaitWhileOnlyShortOnesMayRun) {
  Add("a", 1 << 20, "L", Length::kLong);
  Add("a", 1 << 10, "s");
  Add("b", 1 << 20, "L", Length::kLong);
  now_ += std::chrono::hours(1);
  Add("a", 1 << 10, "t");
  EXPECT_EQ(Run(5, /*long_too=*/false), "st");
  EXPECT_EQ(Run(5), "LL");
  EXPECT_FALSE(queue_.Take(/*long_too=*/true));
}

// The bound of self-clocked fair queueing: what two peers that always have something waiting get
// differs by no more than the largest prompt of each.
TEST_F(PromptQueueTest, NobodyIsAheadByMoreThanAPromptOfEach) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  constexpr std::int64_t kMax = 100'000;
  std::map<std::string, std::int64_t> served{{"a", 0}, {"b", 0}, {"c", 0}};
  const auto post = [&](const std::string& peer) {
    const std::size_t bytes = random() % (kMax + 1);
    queue_.Add(peer, bytes, Length::kShort, now_,
               {[&served, peer, bytes] {
                  served[peer] += static_cast<std::int64_t>(bytes) + PromptQueue::kBytesPerPrompt;
                },
                {}});
  };
  for (int i = 0; i < 300; ++i) {
    for (const auto& [peer, bytes] : served) post(peer);
  }
  for (int i = 0; i < 300; ++i) {
    queue_.Take(true)->job.run();
    for (const auto& [peer, bytes] : served) {
      EXPECT_LE(std::abs(bytes - served["a"]), 2 * (kMax + PromptQueue::kBytesPerPrompt));
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::serve
