#include "common/stream_metrics.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <chrono>
#include <string>

namespace thinkwire {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class StreamMetricsTest : public testing::Test {
 protected:
  // The one metric of that name with that label's value, or without labels.
  prometheus::ClientMetric Find(const std::string& name, const std::string& label = "") {
    for (const auto& family : registry_.Collect()) {
      if (family.name != "test_" + name) continue;
      for (const auto& metric : family.metric) {
        if (label.empty() && metric.label.empty()) return metric;
        for (const auto& pair : metric.label) {
          if (pair.value == label) return metric;
        }
      }
    }
    ADD_FAILURE() << name << " " << label;
    return {};
  }
  double Tokens(const std::string& kind) { return Find("tokens_total", kind).counter.value; }

  prometheus::Registry registry_;
  StreamMetrics metrics_{registry_, "test"};
  const Clock::TimePoint arrival_ = Clock::TimePoint() + seconds(1000);
};

TEST_F(StreamMetricsTest, TokensCountAsTheyCome) {
  StreamMeter meter(metrics_, arrival_);
  meter.Start(7, 3, arrival_ + milliseconds(20));
  EXPECT_EQ(Tokens("prompt"), 7);
  EXPECT_EQ(Tokens("cached_prompt"), 3);
  meter.AddTokens(StreamPhase::kReasoning, 2, arrival_ + seconds(1));
  EXPECT_EQ(Tokens("reasoning"), 2);
  EXPECT_EQ(meter.phase(), StreamPhase::kReasoning);
  meter.AddTokens(StreamPhase::kAnswer, 0, arrival_ + seconds(2));  // none came
  EXPECT_EQ(meter.phase(), StreamPhase::kReasoning);
}

TEST_F(StreamMetricsTest, TimesAreThoseOfThePhase) {
  StreamMeter meter(metrics_, arrival_);
  meter.Start(7, 3, arrival_ + milliseconds(20));
  meter.AddTokens(StreamPhase::kReasoning, 1, arrival_ + seconds(1));
  meter.AddTokens(StreamPhase::kReasoning, 4, arrival_ + seconds(3));
  meter.AddTokens(StreamPhase::kAnswer, 1, arrival_ + seconds(10));
  meter.End(3, arrival_ + seconds(11));
  EXPECT_EQ(Tokens("discarded"), 3);
  EXPECT_DOUBLE_EQ(Find("queue_seconds").histogram.sample_sum, 0.02);
  EXPECT_DOUBLE_EQ(Find("request_duration_seconds").histogram.sample_sum, 11);
  // Once, though both phases have a first token.
  EXPECT_DOUBLE_EQ(Find("time_to_output_seconds").histogram.sample_sum, 1);
  EXPECT_DOUBLE_EQ(Find("time_to_first_token_seconds", "reasoning").histogram.sample_sum, 1);
  EXPECT_DOUBLE_EQ(Find("time_to_first_token_seconds", "answer").histogram.sample_sum, 10);
  EXPECT_DOUBLE_EQ(Find("time_per_output_token_seconds", "reasoning").histogram.sample_sum, 0.5);
  // One token has no time between tokens.
  EXPECT_EQ(Find("time_per_output_token_seconds", "answer").histogram.sample_count, 0u);
  EXPECT_DOUBLE_EQ(Find("request_output_tokens", "reasoning").histogram.sample_sum, 5);
}

TEST_F(StreamMetricsTest, WhoNeverStartedWaitedAndNoMore) {
  StreamMeter meter(metrics_, arrival_);
  meter.End(0, arrival_ + seconds(60));
  EXPECT_DOUBLE_EQ(Find("queue_seconds").histogram.sample_sum, 60);
  EXPECT_EQ(Find("request_duration_seconds").histogram.sample_count, 0u);
}

TEST_F(StreamMetricsTest, TimesReachAnHour) {
  for (const char* name : {"queue_seconds", "request_duration_seconds"}) {
    const auto& buckets = Find(name).histogram.bucket;
    ASSERT_GE(buckets.size(), 2u);
    EXPECT_EQ(buckets[buckets.size() - 2].upper_bound, 3600) << name;
  }
}

TEST_F(StreamMetricsTest, ASecondStartChangesNothing) {
  StreamMeter meter(metrics_, arrival_);
  meter.Start(7, 3, arrival_ + seconds(1));
  meter.Start(7, 3, arrival_ + seconds(2));
  EXPECT_EQ(Tokens("prompt"), 7);
  EXPECT_EQ(meter.queue_time(arrival_ + seconds(3)), seconds(1));
}

}  // namespace
}  // namespace thinkwire
