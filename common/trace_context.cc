#include "common/trace_context.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/random_bits.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

constexpr std::size_t kTraceIdDigits = 32;
constexpr std::size_t kSpanIdDigits = 16;
constexpr std::size_t kBytes = 55;  // of version 00: "00-TRACE-SPAN-01"

bool IsHex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

// Ids of zeros alone mean none.
bool IsId(std::string_view text) {
  return IsHex(text) && text.find_first_not_of('0') != std::string_view::npos;
}

bool HasForm(std::string_view text) {
  if (text.size() < kBytes || text[2] != '-' || text[35] != '-' || text[52] != '-') return false;
  const std::string_view version = text.substr(0, 2);
  if (!IsHex(version) || version == "ff" || !IsHex(text.substr(53, 2))) return false;
  return text.size() == kBytes || (version != "00" && text[kBytes] == '-');
}

bool IsSampled(std::string_view flags) {
  const char low = flags[1];
  const int value = low <= '9' ? low - '0' : low - 'a' + 10;
  return value % 2 == 1;
}

// By the wall clock of now, and so that a step of that clock makes no span longer.
std::string UnixNanos(Clock::TimePoint time, Clock::TimePoint now,
                      std::chrono::system_clock::time_point wall_now) {
  const auto at = wall_now.time_since_epoch() + (time - now);
  return absl::StrCat(std::chrono::duration_cast<std::chrono::nanoseconds>(at).count());
}

}  // namespace

std::optional<TraceContext> ContinueTrace(std::string_view traceparent) {
  if (!HasForm(traceparent)) return std::nullopt;
  const std::string_view trace_id = traceparent.substr(3, kTraceIdDigits);
  const std::string_view parent_id = traceparent.substr(36, kSpanIdDigits);
  if (!IsId(trace_id) || !IsId(parent_id) || !IsSampled(traceparent.substr(53, 2))) {
    return std::nullopt;
  }
  return TraceContext{.trace_id = std::string(trace_id),
                      .parent_id = std::string(parent_id),
                      .span_id = MakeSpanId()};
}

std::string MakeTraceparent(const TraceContext& trace) {
  return absl::StrCat("00-", trace.trace_id, "-", trace.span_id, "-01");
}

std::string MakeSpanId() {
  std::uint64_t bits = 0;
  while (bits == 0) bits = RandomBits();
  return absl::StrCat(absl::Hex(bits, absl::kZeroPad16));
}

void LogSpan(const Span& span, std::string_view code, std::string_view request_id,
             Clock::TimePoint now, const LogRate& rate) {
  const auto wall_now = std::chrono::system_clock::now();
  Log(LogLevel::kInfo, "span",
      {{"name", span.name},
       {"kind", static_cast<int>(span.kind)},
       {"traceId", span.trace_id},
       {"spanId", span.span_id},
       {"parentSpanId", span.parent_span_id},
       {"startTimeUnixNano", UnixNanos(span.start, now, wall_now)},
       {"endTimeUnixNano", UnixNanos(span.end, now, wall_now)},
       {"code", code},
       {"request_id", request_id}},
      rate);
}

}  // namespace thinkwire
