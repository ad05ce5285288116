#include "common/trace_context.h"

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/fakes/stderr_log.h"

namespace thinkwire {
namespace {

constexpr char kTrace[] = "0af7651916cd43dd8448eb211c80319c";
constexpr char kParent[] = "b7ad6b7169203331";

std::string Traceparent(const std::string& version = "00", const std::string& flags = "01") {
  return absl::StrCat(version, "-", kTrace, "-", kParent, "-", flags);
}

TEST(TraceContextTest, ASpanOfOurOwnGoesIntoTheCallersTrace) {
  const auto trace = ContinueTrace(Traceparent());
  ASSERT_TRUE(trace);
  EXPECT_EQ(trace->trace_id, kTrace);
  EXPECT_EQ(trace->parent_id, kParent);
  EXPECT_EQ(trace->span_id.size(), 16u);
  EXPECT_NE(trace->span_id, ContinueTrace(Traceparent())->span_id);
  const auto next = ContinueTrace(MakeTraceparent(*trace));
  ASSERT_TRUE(next) << MakeTraceparent(*trace);
  EXPECT_EQ(next->trace_id, kTrace);
  EXPECT_EQ(next->parent_id, trace->span_id);
}

TEST(TraceContextTest, ALaterVersionIsReadAsFarAsItIsKnown) {
  EXPECT_TRUE(ContinueTrace(Traceparent("cc", "03")));
  EXPECT_TRUE(ContinueTrace(Traceparent("01") + "-more"));
  EXPECT_FALSE(ContinueTrace(Traceparent("01") + ".more"));
  EXPECT_FALSE(ContinueTrace(Traceparent("00") + "-more"));
}

TEST(TraceContextTest, WhatIsNoneOrNotRecordedHasNoSpans) {
  const std::string zeros(32, '0');
  for (const std::string& none :
       {std::string(), std::string("00"), Traceparent("ff"), Traceparent("0x"),
        Traceparent("00", "0g"), Traceparent("00", "00"), Traceparent("00", "02"),
        Traceparent("00", "1"), absl::StrCat("00-", zeros, "-", kParent, "-01"),
        absl::StrCat("00-", kTrace, "-", zeros.substr(16), "-01"),
        absl::StrCat("00_", kTrace, "-", kParent, "-01"),
        absl::StrCat("00-0AF7651916CD43DD8448EB211C80319C-", kParent, "-01")}) {
    EXPECT_FALSE(ContinueTrace(none)) << none;
  }
}

TEST(TraceContextTest, ASpanIsARecordWithOtlpsNames) {
  const StderrLog log;
  const Clock::TimePoint now = Clock::Real().Now();
  const auto nanos = [](std::chrono::system_clock::time_point time) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count();
  };
  const auto before = std::chrono::system_clock::now();
  LogSpan({.name = "thinkwire.queue",
           .kind = SpanKind::kServer,
           .trace_id = kTrace,
           .span_id = "0000000000000001",
           .parent_span_id = kParent,
           .start = now - std::chrono::milliseconds(1500),
           .end = now - std::chrono::milliseconds(500)},
          "OK", "r-1", now, {});
  const auto after = std::chrono::system_clock::now();
  const nlohmann::json record = nlohmann::json::parse(log.text());
  EXPECT_EQ(record["message"], "span");
  EXPECT_EQ(record["name"], "thinkwire.queue");
  EXPECT_EQ(record["kind"], 2);
  EXPECT_EQ(record["traceId"], kTrace);
  EXPECT_EQ(record["spanId"], "0000000000000001");
  EXPECT_EQ(record["parentSpanId"], kParent);
  EXPECT_EQ(record["code"], "OK");
  EXPECT_EQ(record["request_id"], "r-1");
  std::int64_t start = 0;
  std::int64_t end = 0;
  ASSERT_TRUE(absl::SimpleAtoi(record["startTimeUnixNano"].get<std::string>(), &start));
  ASSERT_TRUE(absl::SimpleAtoi(record["endTimeUnixNano"].get<std::string>(), &end));
  EXPECT_EQ(end - start, 1'000'000'000);
  EXPECT_GE(start, nanos(before) - 1'500'000'000);
  EXPECT_LE(start, nanos(after) - 1'500'000'000);
}

}  // namespace
}  // namespace thinkwire
