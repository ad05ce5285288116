#include "worker/worker_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <string>

namespace thinkwire::worker {
namespace {

prometheus::Gauge* MakeGauge(prometheus::Registry& registry, const char* name, const char* help) {
  return &prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Counter* MakeCounter(prometheus::Registry& registry, const char* name,
                                 const char* help) {
  return &prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

// The engine counts by itself; SetStatus calls of one thread keep this exact.
void Raise(prometheus::Counter* counter, std::uint64_t value) {
  const double more = static_cast<double>(value) - counter->Value();
  if (more > 0) counter->Increment(more);
}

}  // namespace

std::string_view ToString(Outcome outcome) {
  switch (outcome) {
    case Outcome::kCompleted:
      return "completed";
    case Outcome::kRefused:
      return "refused";
    case Outcome::kCancelled:
      return "cancelled";
    case Outcome::kDeadline:
      return "deadline";
    case Outcome::kSlowConsumer:
      return "slow_consumer";
    case Outcome::kShutdown:
      return "shutdown";
    case Outcome::kInternal:
      break;
  }
  return "internal";
}

WorkerMetrics::WorkerMetrics(prometheus::Registry& registry)
    : queue_seconds_(
          &prometheus::BuildHistogram()
               .Name("thinkwire_worker_queue_seconds")
               .Help("Time from a request's arrival to its place")
               .Register(registry)
               .Add({}, prometheus::Histogram::BucketBoundaries{0.001, 0.01, 0.1, 0.3, 1, 3, 10, 30,
                                                                100, 300, 1000})),
      queued_(MakeGauge(registry, "thinkwire_worker_queued_requests",
                        "Requests that wait for a place")),
      running_(
          MakeGauge(registry, "thinkwire_worker_running_requests", "Requests that have a place")),
      kv_blocks_used_(
          MakeGauge(registry, "thinkwire_worker_kv_blocks_used", "KV blocks that requests hold")),
      kv_blocks_cached_(MakeGauge(registry, "thinkwire_worker_kv_blocks_cached",
                                  "KV blocks that no request holds, kept for those to come")),
      kv_blocks_total_(MakeGauge(registry, "thinkwire_worker_kv_blocks", "KV blocks in all")),
      steps_(MakeCounter(registry, "thinkwire_worker_steps_total", "Forward passes")),
      preemptions_(MakeCounter(registry, "thinkwire_worker_preemptions_total",
                               "Times that a sequence lost its KV blocks and was recomputed")),
      prefix_queries_(MakeCounter(registry, "thinkwire_worker_prefix_queries_total",
                                  "Sequences that got a place and asked the prefix cache")),
      prefix_hits_(MakeCounter(registry, "thinkwire_worker_prefix_hits_total",
                               "Sequences that found KV blocks there")),
      prefix_query_tokens_(MakeCounter(registry, "thinkwire_worker_prefix_query_tokens_total",
                                       "Tokens of the sequences that asked")),
      prefix_hit_tokens_(MakeCounter(registry, "thinkwire_worker_prefix_hit_tokens_total",
                                     "Tokens of them that need not be computed again")) {
  auto& requests = prometheus::BuildCounter()
                       .Name("thinkwire_worker_requests_total")
                       .Help("Requests, by how they ended")
                       .Register(registry);
  for (int i = 0; i < kNumOutcomes; ++i) {
    const auto outcome = static_cast<Outcome>(i);
    requests_[static_cast<std::size_t>(i)] =
        &requests.Add({{"outcome", std::string(ToString(outcome))}});
  }
  auto& tokens = prometheus::BuildCounter()
                     .Name("thinkwire_worker_tokens_total")
                     .Help("Tokens, by what they were; cached_prompt is a part of prompt")
                     .Register(registry);
  prompt_tokens_ = &tokens.Add({{"kind", "prompt"}});
  cached_prompt_tokens_ = &tokens.Add({{"kind", "cached_prompt"}});
  reasoning_tokens_ = &tokens.Add({{"kind", "reasoning"}});
  answer_tokens_ = &tokens.Add({{"kind", "answer"}});
  discarded_tokens_ = &tokens.Add({{"kind", "discarded"}});
}

void WorkerMetrics::CountRequest(Outcome outcome, const RequestCost& cost) {
  requests_[static_cast<std::size_t>(outcome)]->Increment();
  if (outcome == Outcome::kRefused) return;
  prompt_tokens_->Increment(cost.prompt_tokens);
  cached_prompt_tokens_->Increment(cost.cached_prompt_tokens);
  reasoning_tokens_->Increment(cost.reasoning_tokens);
  answer_tokens_->Increment(cost.answer_tokens);
  discarded_tokens_->Increment(cost.discarded_tokens);
  queue_seconds_->Observe(cost.queue_seconds);
}

void WorkerMetrics::SetStatus(const engine::EngineStatus& status) {
  queued_->Set(status.queued);
  running_->Set(status.running);
  kv_blocks_used_->Set(status.total_blocks - status.free_blocks);
  kv_blocks_cached_->Set(status.cached_blocks);
  kv_blocks_total_->Set(status.total_blocks);
  Raise(steps_, status.steps);
  Raise(preemptions_, status.preemptions);
  Raise(prefix_queries_, status.prefix_use.queries);
  Raise(prefix_hits_, status.prefix_use.hits);
  Raise(prefix_query_tokens_, status.prefix_use.query_tokens);
  Raise(prefix_hit_tokens_, status.prefix_use.hit_tokens);
}

}  // namespace thinkwire::worker
