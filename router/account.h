#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/stream_metrics.h"
#include "router/decision/experience.h"
#include "router/decision/policy.h"
#include "router/fleet/worker_client.h"
#include "router/fleet/worker_pool.h"
#include "router/router_metrics.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// What one request has taken, over all its attempts: for the metrics, for the log and for decisions
// to come. Threads: one at a time.
class Account {
 public:
  // `metrics` outlives this.
  Account(RouterMetrics& metrics, Clock::TimePoint arrival)
      : metrics_(metrics), arrival_(arrival) {}

  // An attempt that goes to the variant called `name`, as decided for `query`. What was measured of
  // an attempt before counts no more: REQUIRES: none has started.
  void Choose(const std::string& name, const decision::Decision& decision,
              const decision::Query& query);
  // It has begun anew at the variant called `name`, after the one before was left at `left_at`; the
  // tokens before are void, and `discarded` more were made there. REQUIRES: some attempt has
  // started.
  void Restart(const std::string& name, const decision::Decision& decision, std::int32_t discarded,
               Clock::TimePoint left_at, Clock::TimePoint now);
  // It goes on in another attempt, which knows the times of its own alone.
  void GoOn() { in_parts_ = true; }
  // None could be chosen: the error is about the variant of that name, which may be empty.
  void ChooseNone(std::string name) { variant_ = std::move(name); }

  // The next event of the stream.
  void Count(const v1::GenerateResponse& event, Clock::TimePoint now);
  // One that is held back came, and may be of the stream later: what times it has then say nothing
  // of the worker.
  void CountHeld(const v1::GenerateResponse& event, Clock::TimePoint now);
  // So many tokens came in all: those that were not of the stream are discarded.
  void DiscardBeyond(std::int64_t tokens);
  // Its worker was lost at `now`.
  void Lose(Clock::TimePoint now);
  // Another goes on, after an error of `reason`.
  void Move(std::string_view reason);

  // Once. `tenant`: whose it was, of Callers.
  void End(const absl::Status& status, const std::string& tenant, Clock::TimePoint now);
  // `attempts` were made, the latest at `worker`. In a trace it has two spans: of all its time
  // here, and of that until a worker began.
  void Log(const absl::Status& status, const std::string& request_id,
           const fleet::CallContext& context, const std::string& worker, std::int32_t attempts,
           Clock::TimePoint now) const;

  // The times of all attempts at the variant, where the last worker knows its own alone
  // (is_in_parts): as they were seen here, pauses included. REQUIRES: some attempt has started.
  void TellTimes(v1::Timings& timings, Clock::TimePoint now) const;

  // Takes a whole stream into the experience of `pool`. REQUIRES: it has ended well.
  void Learn(const fleet::WorkerLease& lease, fleet::WorkerPool& pool) const;

  // Its name; empty: none was chosen. REQUIRES of the next three: one was.
  const std::string& variant() const { return variant_; }
  std::size_t variant_index() const { return taken_.variant; }
  Task task() const { return taken_.task; }
  double prompt_bytes() const { return taken_.prompt_bytes; }
  std::int32_t moves() const { return moves_; }
  bool is_in_parts() const { return in_parts_; }
  // REQUIRES: some attempt has started.
  Clock::Duration queue_time(Clock::TimePoint now) const { return meter_->queue_time(now); }

 private:
  void CountTokens(StreamPhase phase, int tokens, Clock::TimePoint now);
  void EndGap(int tokens, Clock::TimePoint now);
  void LogSpans(std::string_view code, const std::string& request_id,
                const fleet::CallContext& context, Clock::TimePoint now) const;
  void CountFinished(const v1::Finished& finished, Clock::TimePoint now);
  // Those of void runs are discarded, but for their prompts, which are in none.
  TokenCounts counts() const;
  StreamPhase phase() const { return meter_ ? meter_->phase() : StreamPhase::kNone; }

  RouterMetrics& metrics_;
  const Clock::TimePoint arrival_;
  std::string variant_;
  std::string_view cause_;            // why that one, of CauseName; empty: none was chosen
  std::optional<StreamMeter> meter_;  // once a worker is chosen
  decision::Taken taken_;             // as far as is known; lengths are the first output's
  bool has_several_ = false;          // outputs
  std::int32_t discarded_tokens_ = 0;
  std::int32_t void_tokens_ = 0;
  std::int32_t void_prompt_tokens_ = 0;
  std::int32_t restarts_ = 0;
  std::int32_t moves_ = 0;
  bool in_parts_ = false;
  bool was_held_ = false;                       // some event of the stream
  std::optional<Clock::TimePoint> started_at_;  // first
  std::optional<Clock::TimePoint> lost_at_;     // until the next token
};

}  // namespace thinkwire::router
