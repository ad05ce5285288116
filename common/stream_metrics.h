#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"

namespace prometheus {
class Counter;
class Histogram;
class Registry;
}  // namespace prometheus

namespace thinkwire {

// Where a stream is, by its last token.
enum class StreamPhase : std::uint8_t { kNone, kReasoning, kAnswer };
std::string_view ToString(StreamPhase phase);  // "none", "reasoning", "answer"

struct TokenCounts {
  std::int32_t prompt = 0;
  std::int32_t cached_prompt = 0;  // of prompt: computed before, for another
  std::int32_t reasoning = 0;
  std::int32_t answer = 0;
  std::int32_t discarded = 0;  // drawn beyond the end of the output
};

// What all streams of a worker, or of one of a router's variants, add up to: tokens, and the times
// that their readers feel. Both processes use it, so that their metrics mean the same:
// `prefix`_tokens_total{kind}, _queue_seconds, _time_to_output_seconds (until the first token of
// whichever phase), _time_to_first_token_seconds{phase},
// _time_per_output_token_seconds{phase}, _request_duration_seconds, _request_prompt_tokens,
// _request_output_tokens{phase}.
// Threads: any.
class StreamMetrics {
 public:
  using Labels = std::map<std::string, std::string>;

  // Adds `labels` to every metric. `registry` owns the metrics and must outlive this.
  StreamMetrics(prometheus::Registry& registry, const std::string& prefix,
                const Labels& labels = {});

 private:
  friend class StreamMeter;
  struct Phase {
    prometheus::Counter* tokens;
    prometheus::Histogram* first_token;
    prometheus::Histogram* token_time;
    prometheus::Histogram* length;
  };

  prometheus::Counter* prompt_tokens_;
  prometheus::Counter* cached_prompt_tokens_;
  prometheus::Counter* discarded_tokens_;
  prometheus::Histogram* queue_;
  prometheus::Histogram* output_;
  prometheus::Histogram* duration_;
  prometheus::Histogram* prompt_length_;
  std::array<Phase, 2> phases_;  // reasoning, answer
};

// One stream's way into the metrics. Tokens count as they come, as an output may take an hour and
// rates are to be true meanwhile; what describes a whole stream counts at its end.
// Threads: one at a time.
class StreamMeter {
 public:
  // `metrics` must outlive this. A stream that is refused calls nothing more and counts nowhere.
  StreamMeter(StreamMetrics& metrics, Clock::TimePoint arrival)
      : metrics_(metrics), arrival_(arrival) {}

  // It has its place. Later calls change nothing.
  void Start(std::int32_t prompt_tokens, std::int32_t cached_prompt_tokens, Clock::TimePoint now);

  // `count` tokens of `phase`, not kNone, came at `now`.
  void AddTokens(StreamPhase phase, std::int32_t count, Clock::TimePoint now);

  // It has ended, with or without having started. Once.
  void End(std::int32_t discarded_tokens, Clock::TimePoint now);

  bool started() const { return started_at_.has_value(); }
  StreamPhase phase() const { return phase_; }
  const TokenCounts& counts() const { return counts_; }
  // Between its first token and its last, for each; 0 with fewer than two.
  double seconds_per_token() const;
  // From its start to its first token; 0 before that.
  double prompt_s() const;
  // Of the phase, from its first token to its last; nullopt: it had none. REQUIRES: not kNone.
  std::optional<Clock::Duration> phase_time(StreamPhase phase) const;
  // Until it started or, if it did not, until `now`.
  Clock::Duration queue_time(Clock::TimePoint now) const {
    return started_at_.value_or(now) - arrival_;
  }

 private:
  struct Progress {
    std::int32_t tokens = 0;
    Clock::TimePoint first;
    Clock::TimePoint last;
  };

  // Of the phase that came first; null before there is a token.
  const Progress* FirstProgress() const;

  StreamMetrics& metrics_;
  const Clock::TimePoint arrival_;
  std::optional<Clock::TimePoint> started_at_;
  StreamPhase phase_ = StreamPhase::kNone;
  TokenCounts counts_;
  std::array<Progress, 2> progress_;  // reasoning, answer
};

}  // namespace thinkwire
