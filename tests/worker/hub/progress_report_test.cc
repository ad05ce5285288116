#include "worker/hub/progress_report.h"

#include <gtest/gtest.h>

#include <string>

namespace thinkwire::worker::hub {
namespace {

class ProgressLineTest : public testing::Test {
 protected:
  ProgressLineTest() {
    progress_.Expect(15'200'000'000);
    progress_.Have(2'000'000'000);
    progress_.Come(1'800'000'000);
    progress_.Begin("model-00001-of-00002.safetensors");
  }

  Progress progress_;
};

TEST_F(ProgressLineTest, HasABarTheRateAndTheTimeThatIsLeft) {
  EXPECT_EQ(
      ProgressLine("qwen-7b", progress_, 100e6, 132),
      "qwen-7b [#######-----------------------]  25 %, 3.8 of 15.2 GB, 100.0 MB/s, 1:54 left, "
      "model-00001-of-00002.safetensors");
}

TEST_F(ProgressLineTest, GivesUpTheFileAndThenTheBarWhereThereIsNoRoom) {
  const std::string text = " 25 %, 3.8 of 15.2 GB, 100.0 MB/s, 1:54 left";
  EXPECT_EQ(ProgressLine("qwen-7b", progress_, 100e6, 79),
            "qwen-7b [######------------------] " + text);
  EXPECT_EQ(ProgressLine("qwen-7b", progress_, 100e6, 60), "qwen-7b " + text);
  EXPECT_EQ(ProgressLine("qwen-7b", progress_, 100e6, 10), "qwen-7b  2");
}

TEST_F(ProgressLineTest, SaysHoursAndWhatNobodyKnows) {
  EXPECT_NE(ProgressLine("x", progress_, 1e6, 79).find(" 3:10:00 left"), std::string::npos);
  EXPECT_NE(ProgressLine("x", progress_, 1, 79).find(" -:-- left"), std::string::npos);
  EXPECT_NE(ProgressLine("x", progress_, 0, 79).find(" -:-- left"), std::string::npos);
  EXPECT_NE(ProgressLine("x", Progress(), 0, 79).find("   0 %, 0.0 of 0.0 GB"), std::string::npos);
}

TEST(RecentRateTest, FollowsWhatComesNow) {
  RecentRate rate;
  EXPECT_DOUBLE_EQ(rate.Add(25, 0.25), 100);
  for (int i = 0; i < 100; ++i) EXPECT_NEAR(rate.Add(25, 0.25), 100, 1e-9);
  EXPECT_LT(rate.Add(0, 3), 50);
  for (int i = 0; i < 100; ++i) (void)rate.Add(50, 0.25);
  EXPECT_NEAR(rate.Add(50, 0.25), 200, 1);
}

}  // namespace
}  // namespace thinkwire::worker::hub
