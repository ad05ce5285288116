#include "worker/serve/worker_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <chrono>
#include <string>

namespace thinkwire::worker::serve {

// Where the metrics go, and the label that all of them carry.
struct WorkerMetrics::ModelRegistry {
  prometheus::Gauge* MakeGauge(const char* name, const char* help) const {
    return &prometheus::BuildGauge().Name(name).Help(help).Labels(labels).Register(inner).Add({});
  }
  prometheus::Counter* MakeCounter(const char* name, const char* help) const {
    return &prometheus::BuildCounter().Name(name).Help(help).Labels(labels).Register(inner).Add({});
  }

  prometheus::Registry& inner;
  StreamMetrics::Labels labels;
};

namespace {

constexpr char kPrefix[] = "thinkwire_worker";

const prometheus::Histogram::BucketBoundaries kCompileSeconds = {0.0001, 0.0003, 0.001, 0.003, 0.01,
                                                                 0.03,   0.1,    0.3,   1};

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
    case Outcome::kInvalid:
      return "invalid";
    case Outcome::kQueueFull:
      return "queue_full";
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

Outcome OutcomeOfRefusal(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kResourceExhausted:
      return Outcome::kQueueFull;
    case absl::StatusCode::kCancelled:
      return Outcome::kCancelled;
    case absl::StatusCode::kDeadlineExceeded:
      return Outcome::kDeadline;
    case absl::StatusCode::kUnavailable:
      return Outcome::kShutdown;
    case absl::StatusCode::kInternal:
      return Outcome::kInternal;
    default:
      return Outcome::kInvalid;
  }
}

WorkerMetrics::WorkerMetrics(prometheus::Registry& registry, const std::string& model)
    : WorkerMetrics(ModelRegistry{registry, {{"model", model}}}) {}

WorkerMetrics::WorkerMetrics(const ModelRegistry& registry)
    : streams_(registry.inner, kPrefix, registry.labels),
      requests_(&prometheus::BuildCounter()
                     .Name("thinkwire_worker_requests_total")
                     .Help("Requests that have ended, by outcome and by the phase they were in: "
                           "that of the last token, or none")
                     .Labels(registry.labels)
                     .Register(registry.inner)),
      finishes_(&prometheus::BuildCounter()
                     .Name("thinkwire_worker_finished_outputs_total")
                     .Help("Outputs that ended by themselves, by reason")
                     .Labels(registry.labels)
                     .Register(registry.inner)),
      reasoning_ends_(&prometheus::BuildCounter()
                           .Name("thinkwire_worker_reasoning_ends_total")
                           .Help("Outputs whose reasoning ended, by cause")
                           .Labels(registry.labels)
                           .Register(registry.inner)),
      forced_tokens_(
          registry.MakeCounter("thinkwire_worker_forced_tokens_total",
                               "Tokens that a limit or a format put there, and not the model")),
      format_forced_tokens_(
          registry.MakeCounter("thinkwire_worker_format_forced_tokens_total",
                               "Tokens of them where the answer's format lets no others stand")),
      format_hits_(registry.MakeCounter("thinkwire_worker_format_cache_hits_total",
                                        "Requests whose answer's format was compiled before")),
      format_misses_(
          registry.MakeCounter("thinkwire_worker_format_cache_misses_total",
                               "Requests whose answer's format was compiled, or refused")),
      format_compile_(&prometheus::BuildHistogram()
                           .Name("thinkwire_worker_format_compile_seconds")
                           .Help("Compiling the format of an answer that was not known")
                           .Labels(registry.labels)
                           .Register(registry.inner)
                           .Add({}, kCompileSeconds)),
      answers_now_(registry.MakeCounter("thinkwire_worker_answers_now_total",
                                        "Outputs that were told to answer while they reasoned")),
      queued_(
          registry.MakeGauge("thinkwire_worker_queued_requests", "Requests that wait for a place")),
      running_(
          registry.MakeGauge("thinkwire_worker_running_requests", "Requests that have a place")),
      paused_(registry.MakeGauge(
          "thinkwire_worker_paused_requests",
          "Running requests that stand still until their readers take up again")),
      parked_(
          registry.MakeGauge("thinkwire_worker_parked_requests",
                             "Requests that lost their place, as their readers do not keep up")),
      max_queued_(registry.MakeGauge("thinkwire_worker_max_queued_requests",
                                     "How many requests may wait; one more is refused")),
      max_running_(registry.MakeGauge("thinkwire_worker_max_running_requests", "Places")),
      rank_step_(&prometheus::BuildGauge()
                      .Name("thinkwire_worker_rank_step")
                      .Help("The step that a rank has last beaten in")
                      .Labels(registry.labels)
                      .Register(registry.inner)),
      rank_still_(&prometheus::BuildGauge()
                       .Name("thinkwire_worker_rank_without_progress_seconds")
                       .Help("For how long a rank has stood still while there was work")
                       .Labels(registry.labels)
                       .Register(registry.inner)),
      steps_(registry.MakeCounter("thinkwire_worker_steps_total", "Forward passes")),
      preemptions_(
          registry.MakeCounter("thinkwire_worker_preemptions_total",
                               "Times that a sequence lost its KV blocks and was recomputed")),
      recomputed_tokens_(
          registry.MakeCounter("thinkwire_worker_recomputed_tokens_total",
                               "Tokens computed again after a preemption or a reader's pause")),
      masked_draws_(registry.MakeCounter("thinkwire_worker_masked_draws_total",
                                         "Tokens drawn by the mask of an answer's format")),
      rows_without_mask_(registry.MakeCounter(
          "thinkwire_worker_rows_without_mask_total",
          "Rows that sat a step out, as the mask of an answer's format was being found")),
      prefix_queries_(
          registry.MakeCounter("thinkwire_worker_prefix_queries_total",
                               "Sequences that got a place and asked the prefix cache")),
      prefix_hits_(registry.MakeCounter("thinkwire_worker_prefix_hits_total",
                                        "Sequences that found KV blocks there")),
      prefix_query_tokens_(registry.MakeCounter("thinkwire_worker_prefix_query_tokens_total",
                                                "Tokens of the sequences that asked")),
      prefix_hit_tokens_(registry.MakeCounter("thinkwire_worker_prefix_hit_tokens_total",
                                              "Tokens of them that need not be computed again")) {
  // From the start, so that rates see the first of each.
  for (int i = 0; i < kNumOutcomes; ++i) {
    const std::string outcome(ToString(static_cast<Outcome>(i)));
    for (const StreamPhase phase :
         {StreamPhase::kNone, StreamPhase::kReasoning, StreamPhase::kAnswer}) {
      requests_->Add({{"outcome", outcome}, {"phase", std::string(ToString(phase))}});
    }
  }
  auto& blocks =
      prometheus::BuildGauge()
          .Name("thinkwire_worker_kv_blocks")
          .Help("KV blocks by state: referenced by requests, cached for those to come, or free")
          .Labels(registry.labels)
          .Register(registry.inner);
  kv_referenced_ = &blocks.Add({{"state", "referenced"}});
  kv_cached_ = &blocks.Add({{"state", "cached"}});
  kv_free_ = &blocks.Add({{"state", "free"}});
}

void WorkerMetrics::CountRequest(Outcome outcome, StreamPhase phase) {
  requests_
      ->Add({{"outcome", std::string(ToString(outcome))}, {"phase", std::string(ToString(phase))}})
      .Increment();
}

void WorkerMetrics::CountFinish(std::string_view reason) {
  finishes_->Add({{"reason", std::string(reason)}}).Increment();
}

void WorkerMetrics::CountReasoningEnd(std::string_view cause) {
  reasoning_ends_->Add({{"cause", std::string(cause)}}).Increment();
}

void WorkerMetrics::CountForced(std::int32_t tokens) { forced_tokens_->Increment(tokens); }

void WorkerMetrics::CountForcedByFormat(std::int32_t tokens) {
  CountForced(tokens);
  format_forced_tokens_->Increment(tokens);
}

void WorkerMetrics::CountFormat(bool is_known, Clock::Duration time) {
  if (is_known) return format_hits_->Increment();
  format_misses_->Increment();
  format_compile_->Observe(std::chrono::duration<double>(time).count());
}

void WorkerMetrics::CountAnswersNow(std::int32_t outputs) { answers_now_->Increment(outputs); }

void WorkerMetrics::SetLimits(std::int32_t max_queue, std::int32_t max_num_seqs) {
  max_queued_->Set(max_queue);
  max_running_->Set(max_num_seqs);
}

void WorkerMetrics::SetStatus(const engine::EngineStatus& status) {
  queued_->Set(status.queued);
  running_->Set(status.running);
  paused_->Set(status.paused);
  parked_->Set(status.parked);
  kv_referenced_->Set(status.total_blocks - status.free_blocks);
  kv_cached_->Set(status.cached_blocks);
  kv_free_->Set(status.free_blocks - status.cached_blocks);
  Raise(steps_, status.steps);
  Raise(preemptions_, status.preemptions);
  Raise(recomputed_tokens_, status.recomputed_tokens);
  Raise(masked_draws_, status.masked_draws);
  Raise(rows_without_mask_, status.rows_without_mask);
  Raise(prefix_queries_, status.prefix_use.queries);
  Raise(prefix_hits_, status.prefix_use.hits);
  Raise(prefix_query_tokens_, status.prefix_use.query_tokens);
  Raise(prefix_hit_tokens_, status.prefix_use.hit_tokens);
}

void WorkerMetrics::SetRank(std::size_t rank, const step::RankBeat& beat, Clock::Duration still) {
  const StreamMetrics::Labels labels = {{"rank", std::to_string(rank)}};
  rank_step_->Add(labels).Set(static_cast<double>(beat.step));
  rank_still_->Add(labels).Set(std::chrono::duration<double>(still).count());
}

}  // namespace thinkwire::worker::serve
