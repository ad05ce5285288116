#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/log.h"

namespace thinkwire {

// Where a process's part of a request belongs in the trace of whoever asks: W3C Trace Context
// (https://www.w3.org/TR/trace-context), of which `traceparent` is read and written.
struct TraceContext {
  std::string trace_id;   // 32 hexadecimal digits
  std::string parent_id;  // 16 of them: the caller's span
  std::string span_id;    // likewise, drawn here: the process's own
};

// What `traceparent` says, with a span id of its own. nullopt: it is none of version 00, nor begins
// as a later one must, or its trace is not recorded (its flag `sampled` is not set).
std::optional<TraceContext> ContinueTrace(std::string_view traceparent);

// The `traceparent` of whoever is asked within that span.
std::string MakeTraceparent(const TraceContext& trace);

// A span id that nobody has had.
std::string MakeSpanId();

// What OTLP calls a span, and its numbers of what kind it is (opentelemetry.proto.trace.v1).
enum class SpanKind : std::uint8_t { kInternal = 1, kServer = 2 };
struct Span {
  std::string_view name;
  SpanKind kind = SpanKind::kInternal;
  std::string_view trace_id;
  std::string_view span_id;
  std::string_view parent_span_id;
  Clock::TimePoint start;
  Clock::TimePoint end;
};

// Writes one record "span", with the names that OTLP's JSON has: name, kind, traceId, spanId,
// parentSpanId, and startTimeUnixNano and endTimeUnixNano as texts, as they are longer than a
// double; beside them `code` and `request_id`. `now` is a time of the span's clock, by which its
// times become those of the wall clock.
void LogSpan(const Span& span, std::string_view code, std::string_view request_id,
             Clock::TimePoint now, const LogRate& rate);

}  // namespace thinkwire
