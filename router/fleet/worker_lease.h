#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/status.h"
#include "common/clock.h"
#include "router/decision/policy.h"
#include "router/decision/prompt_marks.h"
#include "router/fleet/worker_trust.h"

namespace thinkwire::router::fleet {

class WorkerClient;
class WorkerPool;

// A request's places on a worker, one for each of its outputs, counted as load until they end or it
// is destroyed. At most as long as its pool.
class WorkerLease {
 public:
  WorkerLease(WorkerLease&& other) noexcept;
  WorkerLease& operator=(WorkerLease&&) = delete;
  ~WorkerLease();

  const WorkerClient& client() const { return *client_; }
  const decision::Decision& decision() const { return decision_; }

  // What the worker is judged by (WorkerTrust). A word of it, be it a sign of life or a refusal.
  void Answered();
  // It has begun with the request. Both idempotent.
  void Begun();
  // It has begun with the prompt, of which it had so many tokens: what later decisions may expect
  // of its cache (PrefixIndex).
  void HasPrompt(std::int32_t prompt_tokens, std::int32_t cached_tokens);
  // One of its outputs needs no place any more. The last one's is kept.
  void OutputEnded();
  // The call ended so, as WorkerClient tells it. A failure is a stream that was lost, silent or
  // against the contract, and every INTERNAL.
  void Ended(const absl::Status& status);
  // After a failure: Roster::LostTogether. 0: it was none.
  std::int64_t lost_together() const { return lost_together_; }

 private:
  friend class WorkerPool;
  WorkerLease(WorkerPool* pool, const WorkerClient* client, decision::Decision decision,
              Clock::TimePoint since, decision::PromptMarks marks, std::uint32_t life,
              std::int32_t outputs);

  static std::optional<WorkerTrust::Failure> FailureOf(const absl::Status& status);

  WorkerPool* pool_;  // null after a move
  const WorkerClient* const client_;
  const decision::Decision decision_;
  const Clock::TimePoint since_;
  enum class Stage : std::uint8_t { kGiven, kAnswered, kBegun };
  Stage stage_ = Stage::kGiven;
  decision::PromptMarks marks_;  // until HasPrompt
  const std::uint32_t life_;     // of the worker, when it was given
  std::int32_t outputs_;         // that are counted, >= 1
  std::int64_t lost_together_ = 0;
};

}  // namespace thinkwire::router::fleet
