#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "worker/engine/engine.h"

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
class Registry;
}  // namespace prometheus

namespace thinkwire::worker {

// How a request ended, as thinkwire_worker_requests_total tells it.
enum class Outcome : std::uint8_t {
  kCompleted,
  kRefused,  // before the engine had it
  kCancelled,
  kDeadline,
  kSlowConsumer,
  kShutdown,
  kInternal,
};
inline constexpr int kNumOutcomes = 7;
std::string_view ToString(Outcome outcome);

// What one request was.
struct RequestCost {
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_prompt_tokens = 0;  // of prompt_tokens
  std::int32_t reasoning_tokens = 0;
  std::int32_t answer_tokens = 0;
  std::int32_t discarded_tokens = 0;
  double queue_seconds = 0;
};

// The worker's metrics, thinkwire_worker_*. Threads: any.
class WorkerMetrics {
 public:
  // `registry` owns the metrics and must outlive this.
  explicit WorkerMetrics(prometheus::Registry& registry);

  void CountRequest(Outcome outcome, const RequestCost& cost);

  // Sets the gauges, and the counters that the engine keeps.
  void SetStatus(const engine::EngineStatus& status);

 private:
  std::array<prometheus::Counter*, kNumOutcomes> requests_;
  prometheus::Counter* prompt_tokens_;
  prometheus::Counter* cached_prompt_tokens_;
  prometheus::Counter* reasoning_tokens_;
  prometheus::Counter* answer_tokens_;
  prometheus::Counter* discarded_tokens_;
  prometheus::Histogram* queue_seconds_;
  prometheus::Gauge* queued_;
  prometheus::Gauge* running_;
  prometheus::Gauge* kv_blocks_used_;
  prometheus::Gauge* kv_blocks_cached_;
  prometheus::Gauge* kv_blocks_total_;
  prometheus::Counter* steps_;
  prometheus::Counter* preemptions_;
  prometheus::Counter* prefix_queries_;
  prometheus::Counter* prefix_hits_;
  prometheus::Counter* prefix_query_tokens_;
  prometheus::Counter* prefix_hit_tokens_;
};

}  // namespace thinkwire::worker
