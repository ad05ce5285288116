#include "tests/bench/serve_summary.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "tests/bench/statistics.h"

namespace thinkwire::bench {
namespace {

constexpr std::size_t kMaxComplaints = 10;

using Records = std::vector<const StreamRecord*>;

Percentiles PercentilesOf(const std::vector<double>& values) {
  if (values.empty()) return {};
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.count = values.size(),
          .mean = sum / static_cast<double>(values.size()),
          .p50 = Quantile(values, 0.5),
          .p90 = Quantile(values, 0.9),
          .p99 = Quantile(values, 0.99),
          .max = *std::ranges::max_element(values)};
}

void Complain(const StreamRecord& record, const std::string& what, Summary& summary) {
  if (summary.complaints.size() < kMaxComplaints) {
    summary.complaints.push_back(absl::StrCat("request ", record.index, ": ", what));
  }
}

void AddUp(const StreamRecord& record, Summary& summary) {
  Totals& totals = summary.totals[static_cast<std::size_t>(record.outcome)];
  ++totals.requests;
  totals.tokens += record.tokens;
  if (record.outcome == Outcome::kRefused) {
    ++summary.refusals[absl::StatusCodeToString(record.code)];
  }
  if (record.bad) ++summary.wrong_requests;
  summary.violations += static_cast<std::int64_t>(record.violations.size());
  for (const std::string& violation : record.violations) Complain(record, violation, summary);
  if (!record.message.empty()) Complain(record, record.message, summary);
}

bool IsGood(const StreamRecord& record, const ServeOptions& options) {
  return record.outcome == Outcome::kCompleted &&
         (options.goodput_ms == 0 || record.ended - record.sent <= 1e-3 * options.goodput_ms);
}

void SummarizeRates(const Records& measured, std::int64_t shed, const ServeOptions& options,
                    Summary& summary) {
  if (measured.empty()) return;
  double first = measured.front()->sent;
  double last = measured.front()->ended;
  std::int64_t good = 0;
  std::int64_t wanted = shed;
  for (const StreamRecord* record : measured) {
    first = std::min(first, record->sent);
    last = std::max(last, record->ended);
    summary.output_tokens += record->tokens.output();
    if (record->outcome == Outcome::kCompleted) ++summary.measured_completed;
    if (record->outcome != Outcome::kCancelled) ++wanted;
    if (IsGood(*record, options)) ++good;
  }
  summary.seconds = last - first;
  if (summary.seconds > 0) {
    summary.requests_per_second = static_cast<double>(summary.measured_completed) / summary.seconds;
    summary.output_tokens_per_second = static_cast<double>(summary.output_tokens) / summary.seconds;
    summary.goodput_per_second = static_cast<double>(good) / summary.seconds;
  }
  if (wanted > 0) {
    summary.goodput_share = static_cast<double>(good) / static_cast<double>(wanted);
  }
}

void SummarizeTimes(const Records& measured, Summary& summary) {
  std::vector<double> lag, first, first_reasoning, first_answer, completion, per_token;
  for (const StreamRecord* record : measured) {
    const auto since_sent = [record](const std::optional<double>& time, std::vector<double>& out) {
      if (time) out.push_back(*time - record->sent);
    };
    lag.push_back(record->sent - record->due);
    since_sent(record->first_token, first);
    since_sent(record->first_reasoning_token, first_reasoning);
    since_sent(record->first_answer_token, first_answer);
    if (record->outcome == Outcome::kCompleted) since_sent(record->ended, completion);
    const std::int64_t later = record->tokens.output() - record->first_event_tokens;
    if (later > 0) {
      per_token.push_back((record->last_token - *record->first_token) / static_cast<double>(later));
    }
  }
  summary.send_lag = PercentilesOf(lag);
  summary.first_token = PercentilesOf(first);
  summary.first_reasoning_token = PercentilesOf(first_reasoning);
  summary.first_answer_token = PercentilesOf(first_answer);
  summary.completion = PercentilesOf(completion);
  summary.time_per_output_token = PercentilesOf(per_token);
}

// Tokens a second while all of `wave` decoded; nullopt: that was never so.
std::optional<double> DecodeRateOf(const Records& wave) {
  double all_begun = -std::numeric_limits<double>::infinity();
  double one_over = std::numeric_limits<double>::infinity();
  for (const StreamRecord* record : wave) {
    if (!record->first_token) return std::nullopt;
    all_begun = std::max(all_begun, *record->first_token);
    one_over = std::min(one_over, record->last_token);
  }
  if (!(one_over > all_begun)) return std::nullopt;
  std::int64_t tokens = 0;
  for (const StreamRecord* record : wave) {
    for (const TokenArrival& arrival : record->arrivals) {
      if (arrival.time > all_begun && arrival.time <= one_over) tokens += arrival.tokens;
    }
  }
  return static_cast<double>(tokens) / (one_over - all_begun);
}

std::optional<double> DecodeRate(const Records& measured, const ServeOptions& options) {
  std::map<std::int64_t, Records> waves;
  for (const StreamRecord* record : measured) {
    waves[record->index / options.concurrency].push_back(record);
  }
  std::vector<double> rates;
  for (const auto& [number, wave] : waves) {
    const std::optional<double> rate = DecodeRateOf(wave);
    if (rate) rates.push_back(*rate);
  }
  if (rates.empty()) return std::nullopt;
  return Median(rates);
}

}  // namespace

Summary Summarize(std::span<const StreamRecord> records, std::int64_t shed,
                  const ServeOptions& options) {
  Summary summary;
  Records measured;
  for (const StreamRecord& record : records) {
    AddUp(record, summary);
    if (!record.bad && record.index >= options.warmup_requests) measured.push_back(&record);
  }
  summary.measured = static_cast<std::int64_t>(measured.size());
  SummarizeRates(measured, shed, options, summary);
  SummarizeTimes(measured, summary);
  if (options.in_waves) summary.decode_tokens_per_second = DecodeRate(measured, options);
  return summary;
}

}  // namespace thinkwire::bench
