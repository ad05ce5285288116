#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/stream_metrics.h"
#include "worker/engine/engine.h"
#include "worker/step/runner.h"

namespace prometheus {
class Counter;
template <class T>
class Family;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace thinkwire::worker::serve {

// How a request ended, as thinkwire_worker_requests_total tells it.
enum class Outcome : std::uint8_t {
  kCompleted,
  kInvalid,    // refused, as it would be wrong again
  kQueueFull,  // refused, for now
  kCancelled,
  kDeadline,
  kSlowConsumer,
  kShutdown,  // refused or ended, as the worker goes
  kInternal,
};
inline constexpr int kNumOutcomes = 8;
std::string_view ToString(Outcome outcome);

// The outcome of a request that ended with `status`, an error, before the engine had it.
Outcome OutcomeOfRefusal(const absl::Status& status);

// The worker's metrics, thinkwire_worker_*. Threads: any, but one at a time for SetStatus and
// SetRank.
class WorkerMetrics {
 public:
  // `registry` owns the metrics and must outlive this. All carry the label `model`: the name that
  // the model is served by, which scaling by model asks for.
  WorkerMetrics(prometheus::Registry& registry, const std::string& model);

  // For the StreamMeter of each request that the engine takes.
  StreamMetrics& streams() { return streams_; }

  // Once for each request, at its end; `phase` is where it was.
  void CountRequest(Outcome outcome, StreamPhase phase);

  // An output ended by itself, for a reason as "length".
  void CountFinish(std::string_view reason);

  // The reasoning of an output ended, for a cause as "budget".
  void CountReasoningEnd(std::string_view cause);

  // So many tokens were forced.
  void CountForced(std::int32_t tokens);
  // So many as the answer's format let no others stand there: forced too.
  void CountForcedByFormat(std::int32_t tokens);

  // A request came with a format, which was compiled before, or is now or refused, within `time`.
  void CountFormat(bool is_known, Clock::Duration time);

  // So many outputs were told to answer now.
  void CountAnswersNow(std::int32_t outputs);

  // Once; the limits never change.
  void SetLimits(std::int32_t max_queue, std::int32_t max_num_seqs);

  // Sets the gauges, and the counters that the engine keeps.
  void SetStatus(const engine::EngineStatus& status);

  // Where a rank was seen last, and for how long it has been there while there was work.
  void SetRank(std::size_t rank, const step::RankBeat& beat, Clock::Duration still);

 private:
  struct ModelRegistry;
  explicit WorkerMetrics(const ModelRegistry& registry);

  StreamMetrics streams_;
  prometheus::Family<prometheus::Counter>* requests_;
  prometheus::Family<prometheus::Counter>* finishes_;
  prometheus::Family<prometheus::Counter>* reasoning_ends_;
  prometheus::Counter* forced_tokens_;
  prometheus::Counter* format_forced_tokens_;
  prometheus::Counter* format_hits_;
  prometheus::Counter* format_misses_;
  prometheus::Histogram* format_compile_;
  prometheus::Counter* answers_now_;
  prometheus::Gauge* queued_;
  prometheus::Gauge* running_;
  prometheus::Gauge* paused_;
  prometheus::Gauge* parked_;
  prometheus::Gauge* max_queued_;
  prometheus::Gauge* max_running_;
  prometheus::Gauge* kv_referenced_;
  prometheus::Gauge* kv_cached_;
  prometheus::Gauge* kv_free_;
  prometheus::Family<prometheus::Gauge>* rank_step_;
  prometheus::Family<prometheus::Gauge>* rank_still_;
  prometheus::Counter* steps_;
  prometheus::Counter* preemptions_;
  prometheus::Counter* recomputed_tokens_;
  prometheus::Counter* masked_draws_;
  prometheus::Counter* rows_without_mask_;
  prometheus::Counter* prefix_queries_;
  prometheus::Counter* prefix_hits_;
  prometheus::Counter* prefix_query_tokens_;
  prometheus::Counter* prefix_hit_tokens_;
};

}  // namespace thinkwire::worker::serve
