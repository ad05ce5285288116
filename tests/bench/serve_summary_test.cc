#include "tests/bench/serve_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace thinkwire::bench {
namespace {

using testing::ElementsAre;
using testing::Pair;

// A completed stream that was due when it was sent: its first token after 0.5 s, then one each
// 0.1 s.
StreamRecord Completed(std::int64_t index, double sent, std::int64_t tokens) {
  StreamRecord record;
  record.index = index;
  record.outcome = Outcome::kCompleted;
  record.code = absl::StatusCode::kOk;
  record.tokens = {.prompt = 10, .cached = 4, .reasoning = tokens - 1, .answer = 1, .discarded = 2};
  record.due = record.sent = sent;
  record.first_token = record.first_reasoning_token = sent + 0.5;
  record.first_event_tokens = 1;
  record.last_token = sent + 0.5 + 0.1 * static_cast<double>(tokens - 1);
  record.first_answer_token = record.last_token;
  record.ended = record.last_token;
  for (std::int64_t i = 0; i < tokens; ++i) {
    record.arrivals.push_back({sent + 0.5 + 0.1 * static_cast<double>(i), 1});
  }
  return record;
}

StreamRecord Ended(std::int64_t index, Outcome outcome, absl::StatusCode code) {
  StreamRecord record;
  record.index = index;
  record.outcome = outcome;
  record.code = code;
  record.ended = 1;
  return record;
}

TEST(SummaryTest, PercentilesAreRanksOfTheValues) {
  std::vector<StreamRecord> records;
  for (int i = 100; i >= 0; --i) {
    StreamRecord record = Completed(i, 0, 2);
    record.first_token = i;
    records.push_back(record);
  }
  const Percentiles times = Summarize(records, 0, {}).first_token;
  EXPECT_EQ(times.count, 101U);
  EXPECT_DOUBLE_EQ(times.mean, 50);
  EXPECT_DOUBLE_EQ(times.p50, 50);
  EXPECT_DOUBLE_EQ(times.p90, 90);
  EXPECT_DOUBLE_EQ(times.p99, 99);
  EXPECT_DOUBLE_EQ(times.max, 100);
}

TEST(SummaryTest, RatesAreOverTheTimeFromFirstSendingToLastEnd) {
  const std::vector<StreamRecord> records = {Completed(0, 1, 6), Completed(1, 2, 16)};
  const Summary summary = Summarize(records, 0, {});
  EXPECT_EQ(summary.measured, 2);
  EXPECT_DOUBLE_EQ(summary.seconds, 3);  // 1 to 2 + 0.5 + 1.5
  EXPECT_EQ(summary.output_tokens, 22);
  EXPECT_DOUBLE_EQ(summary.requests_per_second, 2 / 3.0);
  EXPECT_DOUBLE_EQ(summary.output_tokens_per_second, 22 / 3.0);
  EXPECT_EQ(summary.decode_tokens_per_second, std::nullopt);
  EXPECT_DOUBLE_EQ(summary.time_per_output_token.p50, 0.1);
  EXPECT_DOUBLE_EQ(summary.first_reasoning_token.max, 0.5);
  EXPECT_DOUBLE_EQ(summary.first_answer_token.max, 2);
  EXPECT_DOUBLE_EQ(summary.completion.max, 2);
}

TEST(SummaryTest, TokensThatComeWithTheFirstTakeNoTime) {
  StreamRecord record = Completed(0, 0, 5);
  record.first_event_tokens = 3;
  record.last_token = *record.first_token + 1;
  EXPECT_DOUBLE_EQ(Summarize(std::vector{record}, 0, {}).time_per_output_token.p50, 0.5);
}

TEST(SummaryTest, WarmUpAndWrongRequestsCountInTotalsAlone) {
  ServeOptions options;
  options.warmup_requests = 1;
  std::vector<StreamRecord> records = {
      Completed(0, 0, 100), Completed(1, 5, 6),
      Ended(2, Outcome::kRefused, absl::StatusCode::kInvalidArgument)};
  records[2].bad = true;
  const Summary summary = Summarize(records, 0, options);
  EXPECT_EQ(summary.measured, 1);
  EXPECT_EQ(summary.output_tokens, 6);
  EXPECT_EQ(summary.wrong_requests, 1);
  EXPECT_THAT(summary.refusals, ElementsAre(Pair("INVALID_ARGUMENT", 1)));
  const Totals& completed = summary.totals[static_cast<std::size_t>(Outcome::kCompleted)];
  EXPECT_EQ(completed.requests, 2);
  EXPECT_EQ(completed.tokens.prompt, 20);
  EXPECT_EQ(completed.tokens.cached, 8);
  EXPECT_EQ(completed.tokens.reasoning, 104);
  EXPECT_EQ(completed.tokens.answer, 2);
  EXPECT_EQ(completed.tokens.discarded, 4);
  EXPECT_EQ(summary.totals[static_cast<std::size_t>(Outcome::kRefused)].requests, 1);
}

TEST(SummaryTest, GoodputIsWhatCompletesInTimeOfAllThatWeDidNotCancel) {
  ServeOptions options;
  options.goodput_ms = 1200;
  const std::vector<StreamRecord> records = {
      Completed(0, 0, 6),   // 1.0 s
      Completed(1, 0, 16),  // 2.0 s: too late
      Ended(2, Outcome::kDeadline, absl::StatusCode::kDeadlineExceeded),
      Ended(3, Outcome::kCancelled, absl::StatusCode::kCancelled)};
  const Summary summary = Summarize(records, /*shed=*/1, options);
  EXPECT_DOUBLE_EQ(summary.seconds, 2);
  EXPECT_DOUBLE_EQ(summary.goodput_per_second, 0.5);
  EXPECT_DOUBLE_EQ(summary.goodput_share, 0.25);
  options.goodput_ms = 0;
  EXPECT_DOUBLE_EQ(Summarize(records, 1, options).goodput_share, 0.5);
}

TEST(SummaryTest, AWaveDecodesBetweenItsLastFirstTokenAndItsFirstLastToken) {
  ServeOptions options;
  options.concurrency = 2;
  options.in_waves = true;
  // First tokens at 0.5 and 1.03, last tokens at 2.5 and 3.03: 1.47 s, in which the first stream
  // gave 15 tokens (1.1 to 2.5) and the second 14 (1.13 to 2.43).
  std::vector<StreamRecord> records = {Completed(0, 0, 21), Completed(1, 0.53, 21)};
  EXPECT_NEAR(*Summarize(records, 0, options).decode_tokens_per_second, 29 / 1.47, 1e-9);
  // A wave of which one had ended before the other began decoding has no such time.
  records.push_back(Completed(2, 10, 3));
  records.push_back(Completed(3, 20, 3));
  EXPECT_NEAR(*Summarize(records, 0, options).decode_tokens_per_second, 29 / 1.47, 1e-9);
  EXPECT_EQ(Summarize(std::span(records).subspan(2), 0, options).decode_tokens_per_second,
            std::nullopt);
}

TEST(SummaryTest, ViolationsAndFailuresAreCountedAndTold) {
  std::vector<StreamRecord> records = {Completed(4, 0, 2),
                                       Ended(5, Outcome::kFailed, absl::StatusCode::kInternal)};
  records[0].violations = {"this", "that"};
  records[1].message = "broken";
  const Summary summary = Summarize(records, 0, {});
  EXPECT_EQ(summary.violations, 2);
  EXPECT_EQ(summary.failed(), 1);
  EXPECT_THAT(summary.complaints,
              ElementsAre("request 4: this", "request 4: that", "request 5: broken"));
}

TEST(SummaryTest, NothingMeasuredIsNothingSaid) {
  const Summary summary = Summarize({}, 0, {});
  EXPECT_EQ(summary.measured, 0);
  EXPECT_EQ(summary.output_tokens_per_second, 0);
  EXPECT_EQ(summary.first_token.count, 0U);
}

}  // namespace
}  // namespace thinkwire::bench
