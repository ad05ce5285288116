#include "common/rpc/reset_counts.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"

namespace thinkwire::rpc {
namespace {

constexpr int kTolerated = static_cast<int>(ResetCounts::kTolerated);

class ResetCountsTest : public testing::Test {
 protected:
  bool Reset(const std::string& connection = "a") { return counts_.CountReset(connection, now_); }

  ResetCounts counts_;
  Clock::TimePoint now_ = Clock::TimePoint() + std::chrono::hours(1);
};

TEST_F(ResetCountsTest, TellsOfTheFirstResetTooMany) {
  for (int i = 0; i < kTolerated; ++i) ASSERT_FALSE(Reset()) << i;
  EXPECT_TRUE(Reset());
  EXPECT_TRUE(Reset()) << "by a new connection";
}

TEST_F(ResetCountsTest, ToleratesAgainWhoStoppedForAHalfLife) {
  for (int i = 0; i < 10 * kTolerated; ++i) Reset();
  now_ += ResetCounts::kHalfLife / 2;
  EXPECT_TRUE(Reset());
  now_ += ResetCounts::kHalfLife;
  EXPECT_FALSE(Reset());
}

TEST_F(ResetCountsTest, CountsEachPeerByItself) {
  for (int i = 0; i < 10 * kTolerated; ++i) ASSERT_FALSE(Reset(absl::StrCat(i % 10)));
}

TEST_F(ResetCountsTest, ToleratesOneMoreForEachStreamOfAnswers) {
  for (int i = 0; i < 10 * kTolerated; ++i) {
    counts_.CountStream("a", now_);
    ASSERT_FALSE(Reset());
  }
  for (int i = 0; i < kTolerated; ++i) ASSERT_FALSE(Reset()) << i;
  EXPECT_TRUE(Reset());
}

TEST_F(ResetCountsTest, ForgetsInTime) {
  for (int second = 0; second < 600; ++second) {  // 20 resets a second for ten minutes
    for (int i = 0; i < 20; ++i) ASSERT_FALSE(Reset()) << second;
    now_ += std::chrono::seconds(1);
  }
  counts_.CountStream("b", now_);
  counts_.Forget(now_);
  EXPECT_EQ(counts_.size(), 2u);
  now_ += 12 * ResetCounts::kHalfLife;
  counts_.Forget(now_);
  EXPECT_EQ(counts_.size(), 0u);
}

}  // namespace
}  // namespace thinkwire::rpc
