#include "router/decision/completion_estimate.h"

#include <algorithm>
#include <cmath>

#include "router/decision/normal.h"

namespace thinkwire::router::decision {
namespace {

constexpr double kStaleShare = 0.1;  // a second

// Where more come than can be done whoever gets a place has waited for as long as he may. If he had
// the median's time then, half of all work would be for nothing. Three of four outputs of
// DeepSeek-R1's public service are shorter than twice the median (tests/bench/output_lengths.h),
// and of equal requests to a busy CPU more than nine of ten took less (tests/bench/RESULTS.md).
constexpr double kServices = 2;

double OutputTokens(double reasoning, double answer, const Query& query) {
  const double tokens = (query.thinks ? reasoning : 0) + answer;
  return query.max_tokens ? std::min(tokens, *query.max_tokens) : tokens;
}

}  // namespace

Task TaskOf(const Query& query) { return query.task.value_or(query.estimated_task); }

ExpectedTokens ExpectTokens(const Query& query, const VariantView& variant) {
  const LengthQuantiles& reasoning = variant.reasoning[TaskOf(query)];
  const LengthQuantiles& answer = variant.answer[TaskOf(query)];
  return {.prompt = static_cast<double>(query.prompt_bytes) / variant.bytes_per_token,
          .reasoning = query.thinks ? reasoning : LengthQuantiles{},
          .output = OutputTokens(reasoning.p50, answer.p50, query),
          .long_output = OutputTokens(reasoning.p90, answer.p90, query),
          .places = static_cast<double>(query.outputs)};
}

double Load(const WorkerView& worker) {
  return static_cast<double>(std::max(std::int64_t{worker.status->queued} + worker.status->running,
                                      worker.leased - worker.parked)) +
         worker.waiting;
}

Pace PaceOf(const WorkerView& worker) {
  Pace pace;
  if (worker.seconds_per_token > 0) pace.seconds_per_token = worker.seconds_per_token;
  if (worker.prompt_tokens_per_s > 0) pace.prompt_tokens_per_s = worker.prompt_tokens_per_s;
  return pace;
}

Completion EstimateCompletion(const ExpectedTokens& tokens, const WorkerView& worker,
                              const Pace& pace, double cached_tokens) {
  const double load = Load(worker);
  const double places = worker.status->max_num_seqs;
  const double with_it = load + tokens.places;
  const double busy = std::min((with_it - 1) / places, 1.0);
  const double stale = 1 + kStaleShare * std::max(worker.silent_s - kFreshSeconds, 0.0);
  const double output_s = stale * tokens.output * pace.seconds_per_token * (1 + busy);
  const double prompt_s = std::max(tokens.prompt - cached_tokens, 0.0) / pace.prompt_tokens_per_s;
  const double service_s = stale * prompt_s + output_s;
  const double place_s = service_s / places;
  const double wait_s = std::max(with_it - places, 0.0) * place_s;
  return {
      .wait_s = wait_s, .place_s = place_s, .output_s = output_s, .total_s = wait_s + service_s};
}

std::optional<double> LongestWait(const Query& query, const Decision& decision) {
  if (!query.deadline_s || decision.service_s <= 0) return query.deadline_s;
  return *query.deadline_s - kServices * decision.service_s;
}

double ChanceInTime(const ExpectedTokens& tokens, const Completion& completion, double deadline_s) {
  const double left_s = deadline_s - (completion.total_s - completion.output_s);
  if (left_s <= 0 || completion.output_s <= 0) return left_s > 0 ? 1 : 0;
  const double deviation = std::max(std::log(tokens.long_output / tokens.output) / kZ90, 0.01);
  return NormalCdf(std::log(left_s / completion.output_s) / deviation);
}

}  // namespace thinkwire::router::decision
