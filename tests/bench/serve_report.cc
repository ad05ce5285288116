#include "tests/bench/serve_report.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"

namespace thinkwire::bench {
namespace {

using nlohmann::json;

// The slope of memory is told from here on: caches and pools have filled by then.
constexpr double kMemoryWarmUpShare = 0.25;

struct NamedTimes {
  const char* name;
  const char* key;
  const Percentiles& times;
};

std::vector<NamedTimes> TimesOf(const Summary& summary) {
  return {{"first token", "first_token_seconds", summary.first_token},
          {"first reasoning token", "first_reasoning_token_seconds", summary.first_reasoning_token},
          {"first answer token", "first_answer_token_seconds", summary.first_answer_token},
          {"time per output token", "time_per_output_token_seconds", summary.time_per_output_token},
          {"completion", "completion_seconds", summary.completion},
          {"sending late", "send_lag_seconds", summary.send_lag}};
}

double CpuShare(const LoadResult& load) {
  return load.seconds > 0 ? load.cpu_seconds / load.seconds : 0;
}

std::optional<double> SlopeOf(const MemoryWatch::Process& process, const LoadResult& load) {
  return SlopePerHour(process.samples, kMemoryWarmUpShare * load.seconds);
}

template <class Value>
json OrNull(const std::optional<Value>& value) {
  return value ? json(*value) : json(nullptr);
}

json ToJson(const Percentiles& times) {
  return {{"count", times.count}, {"mean", times.mean}, {"p50", times.p50},
          {"p90", times.p90},     {"p99", times.p99},   {"max", times.max}};
}

json ToJson(const Totals& totals) {
  return {{"requests", totals.requests},
          {"prompt_tokens", totals.tokens.prompt},
          {"cached_prompt_tokens", totals.tokens.cached},
          {"reasoning_tokens", totals.tokens.reasoning},
          {"answer_tokens", totals.tokens.answer},
          {"discarded_tokens", totals.tokens.discarded}};
}

json LoopOf(const ServeOptions& options) {
  if (options.rate) {
    return {{"kind", "open"}, {"rate", *options.rate}, {"max_in_flight", options.max_in_flight}};
  }
  return {{"kind", options.in_waves ? "waves" : "closed"}, {"concurrency", options.concurrency}};
}

json FiguresOf(const ServeReport& report) {
  const Summary& summary = report.summary;
  json figures = {{"requests", summary.measured},
                  {"completed", summary.measured_completed},
                  {"seconds", summary.seconds},
                  {"output_tokens", summary.output_tokens},
                  {"requests_per_second", summary.requests_per_second},
                  {"output_tokens_per_second", summary.output_tokens_per_second},
                  {"decode_tokens_per_second", OrNull(summary.decode_tokens_per_second)},
                  {"goodput_ms", report.options.goodput_ms},
                  {"goodput_per_second", summary.goodput_per_second},
                  {"goodput_share", summary.goodput_share}};
  for (const NamedTimes& times : TimesOf(summary)) figures[times.key] = ToJson(times.times);
  return figures;
}

json MemoryOf(const ServeReport& report) {
  json processes = json::array();
  for (const MemoryWatch::Process& process : report.memory) {
    json samples = json::array();
    for (const MemorySample& sample : process.samples) {
      samples.push_back({sample.seconds, sample.bytes});
    }
    processes.push_back({{"pid", process.pid},
                         {"bytes_per_hour", OrNull(SlopeOf(process, report.load))},
                         {"samples", std::move(samples)}});
  }
  return processes;
}

std::string DescribeMemory(const MemoryWatch::Process& process, const LoadResult& load) {
  if (process.samples.empty()) return absl::StrFormat("process %d: not seen\n", process.pid);
  const auto slope = SlopeOf(process, load);
  return absl::StrFormat("process %d: %.1f MB at first, %.1f MB at last, %s MB an hour\n",
                         process.pid, process.samples.front().bytes / 1e6,
                         process.samples.back().bytes / 1e6,
                         slope ? absl::StrFormat("%+.2f", *slope / 1e6) : "unknown");
}

std::string DescribeOutcomes(const ServeReport& report) {
  std::string text;
  for (const Outcome outcome : kOutcomes) {
    absl::StrAppend(&text, text.empty() ? "" : ", ",
                    report.summary.totals[static_cast<std::size_t>(outcome)].requests, " ",
                    NameOf(outcome));
  }
  for (const auto& [code, count] : report.summary.refusals) {
    absl::StrAppend(&text, "; ", code, " ", count);
  }
  return text;
}

}  // namespace

std::string DescribeProgress(const LoadProgress& progress, double tokens_per_second) {
  std::string text = absl::StrFormat("%6.0f s  %d in flight, %d sent", progress.seconds,
                                     progress.in_flight, progress.sent);
  if (progress.shed > 0) absl::StrAppend(&text, ", ", progress.shed, " shed");
  for (const Outcome outcome : kOutcomes) {
    const std::int64_t count = progress.ended[static_cast<std::size_t>(outcome)];
    if (count > 0) absl::StrAppend(&text, ", ", count, " ", NameOf(outcome));
  }
  if (progress.violations > 0) absl::StrAppend(&text, ", ", progress.violations, " violations");
  absl::StrAppendFormat(&text, ", %.0f tok/s", tokens_per_second);
  return text;
}

std::string DescribeReport(const ServeReport& report) {
  const Summary& summary = report.summary;
  std::string text = absl::StrFormat(
      "%d requests sent, %d shed, %.1f s: %s; %d violations\n", report.load.records.size(),
      report.load.shed, report.load.seconds, DescribeOutcomes(report), summary.violations);
  for (const std::string& complaint : summary.complaints) {
    absl::StrAppend(&text, "  ", complaint, "\n");
  }
  absl::StrAppendFormat(&text,
                        "measured: %d requests in %.1f s, %.2f completed/s, %.1f output tok/s\n",
                        summary.measured, summary.seconds, summary.requests_per_second,
                        summary.output_tokens_per_second);
  if (summary.decode_tokens_per_second) {
    absl::StrAppendFormat(&text, "while all of a wave decode: %.1f tok/s\n",
                          *summary.decode_tokens_per_second);
  }
  absl::StrAppendFormat(&text, "goodput: %.2f/s, %.1f %%\n", summary.goodput_per_second,
                        100 * summary.goodput_share);
  absl::StrAppendFormat(&text, "%-22s %8s %10s %10s %10s %10s  ms\n", "", "count", "p50", "p90",
                        "p99", "max");
  for (const NamedTimes& row : TimesOf(summary)) {
    absl::StrAppendFormat(&text, "%-22s %8d %10.2f %10.2f %10.2f %10.2f\n", row.name,
                          row.times.count, 1e3 * row.times.p50, 1e3 * row.times.p90,
                          1e3 * row.times.p99, 1e3 * row.times.max);
  }
  absl::StrAppendFormat(&text, "this process: %.1f %% of a core\n", 100 * CpuShare(report.load));
  for (const auto& process : report.memory) {
    absl::StrAppend(&text, DescribeMemory(process, report.load));
  }
  return text;
}

std::string ToJson(const ServeReport& report) {
  const Summary& summary = report.summary;
  json totals;
  for (const Outcome outcome : kOutcomes) {
    totals[NameOf(outcome)] = ToJson(summary.totals[static_cast<std::size_t>(outcome)]);
  }
  const json object = {{"command", "serve"},
                       {"router", report.options.router},
                       {"variant", report.variant},
                       {"loop", LoopOf(report.options)},
                       {"seed", report.options.seed},
                       {"warmup_requests", report.options.warmup_requests},
                       {"sent", report.load.records.size()},
                       {"shed", report.load.shed},
                       {"seconds", report.load.seconds},
                       {"totals", std::move(totals)},
                       {"refusals", summary.refusals},
                       {"wrong_requests", summary.wrong_requests},
                       {"violations", summary.violations},
                       {"complaints", summary.complaints},
                       {"figures", FiguresOf(report)},
                       {"client_cpu_share", CpuShare(report.load)},
                       {"memory", MemoryOf(report)}};
  return object.dump(2, ' ', false, json::error_handler_t::replace);
}

}  // namespace thinkwire::bench
