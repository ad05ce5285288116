#include "worker/hub/progress_report.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <nlohmann/json.hpp>
#include <semaphore>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

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

class ProgressReportTest : public ProgressLineTest {
 protected:
  // The records of a report that looks three times at least, and how often it looked.
  std::pair<std::vector<nlohmann::json>, int> Report(std::chrono::milliseconds record_interval) {
    testing::internal::CaptureStderr();  // no terminal, whatever stderr was
    std::counting_semaphore<> looks(0);
    int number = 0;  // the report's thread's, until it is over
    {
      const ProgressReport report(
          "qwen-7b", progress_,
          [&] {
            ++number;
            looks.release();
          },
          record_interval);
      for (int i = 0; i < 3; ++i) looks.acquire();
    }
    std::istringstream said(testing::internal::GetCapturedStderr());
    std::vector<nlohmann::json> records;
    for (std::string line; std::getline(said, line);) {
      records.push_back(nlohmann::json::parse(line));
    }
    return {records, number};
  }
};

TEST_F(ProgressReportTest, WithoutATerminalARecordFollowsEachInterval) {
  const auto [records, looks] = Report(std::chrono::milliseconds(0));
  ASSERT_EQ(records.size(), static_cast<std::size_t>(looks)) << "each look is late enough";
  for (const nlohmann::json& record : records) {
    EXPECT_EQ(record["message"], "downloading");
    EXPECT_EQ(record["model"], "qwen-7b");
    EXPECT_EQ(record["file"], "model-00001-of-00002.safetensors");
    EXPECT_EQ(record["done_bytes"], 3'800'000'000);
    EXPECT_EQ(record["total_bytes"], 15'200'000'000);
    EXPECT_EQ(record["bytes_per_second"], 0) << "none came since the report began";
  }
}

TEST_F(ProgressReportTest, BeforeTheIntervalIsOverThereIsNoRecord) {
  EXPECT_EQ(Report(std::chrono::hours(1)).first, std::vector<nlohmann::json>());
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
