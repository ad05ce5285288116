#include "router/decision/completion_estimate.h"

#include <algorithm>
#include <cmath>

#include "router/decision/normal.h"

namespace thinkwire::router::decision {
namespace {

constexpr double kStaleShare = 0.1;  // a second

double OutputTokens(double reasoning, double answer, const Query& query) {
  const double tokens = (query.thinks ? reasoning : 0) + answer;
  return query.max_tokens ? std::min(tokens, *query.max_tokens) : tokens;
}

double TokenSeconds(const WorkerView& worker) {
  return worker.seconds_per_token > 0 ? worker.seconds_per_token : kUnseenTokenSeconds;
}

double PromptSeconds(double tokens, const WorkerView& worker) {
  return tokens / (worker.prompt_tokens_per_s > 0 ? worker.prompt_tokens_per_s
                                                  : kUnseenPromptTokensPerSecond);
}

}  // namespace

Task TaskOf(const Query& query) { return query.task.value_or(query.estimated_task); }

ExpectedTokens ExpectTokens(const Query& query, const VariantView& variant) {
  const LengthQuantiles& reasoning = variant.reasoning[TaskOf(query)];
  const LengthQuantiles& answer = variant.answer[TaskOf(query)];
  return {.prompt = static_cast<double>(query.prompt_bytes) / variant.bytes_per_token,
          .reasoning = query.thinks ? reasoning : LengthQuantiles{},
          .output = OutputTokens(reasoning.p50, answer.p50, query),
          .long_output = OutputTokens(reasoning.p90, answer.p90, query)};
}

double Load(const WorkerView& worker) {
  return static_cast<double>(
      std::max(std::int64_t{worker.status->queued} + worker.status->running, worker.leased));
}

Completion EstimateCompletion(const ExpectedTokens& tokens, const WorkerView& worker) {
  const double load = Load(worker);
  const double places = worker.status->max_num_seqs;
  const double busy = std::min(load / places, 1.0);
  const double stale = 1 + kStaleShare * std::max(worker.silent_s - kFreshSeconds, 0.0);
  const double output_s = stale * tokens.output * TokenSeconds(worker) * (1 + busy);
  const double service_s = stale * PromptSeconds(tokens.prompt, worker) + output_s;
  const double place_s = service_s / places;
  const double wait_s = std::max(load + 1 - places, 0.0) * place_s;
  return {
      .wait_s = wait_s, .place_s = place_s, .output_s = output_s, .total_s = wait_s + service_s};
}

double ChanceInTime(const ExpectedTokens& tokens, const Completion& completion, double deadline_s) {
  const double left_s = deadline_s - (completion.total_s - completion.output_s);
  if (left_s <= 0 || completion.output_s <= 0) return left_s > 0 ? 1 : 0;
  const double deviation = std::max(std::log(tokens.long_output / tokens.output) / kZ90, 0.01);
  return NormalCdf(std::log(left_s / completion.output_s) / deviation);
}

}  // namespace thinkwire::router::decision
