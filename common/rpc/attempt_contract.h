#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/rpc/stream_contract.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::rpc {

// Holds one attempt of a worker to worker.proto: a StreamContract's events, each with the request's
// attempt and numbered without a gap, the prompt's ids with the first and with it alone, never
// Moved or Restarted; where the request goes on from a state, from there; of the fingerprint that
// was asked for, if one was. And to sense: no model
// has a context of more than kMaxModelLen tokens, so that a router that keeps the ids of a worker
// knows how many they may become.
//
// Signs of life are Queued and messages without an event: before the first event wholly empty ones,
// as the worker has not read the request yet; then none until Started. Nothing else bounds their
// number: there are at most kSignBurst, and kSignsASecond more for each second since the request
// was sent. Threads: one at a time.
class AttemptContract {
 public:
  // `vocab_size` as the worker's status says it; 0: not known. Nothing of `request` is kept but
  // numbers and the fingerprint.
  AttemptContract(const v1::WorkerGenerateRequest& request, std::int32_t vocab_size,
                  Clock::TimePoint now);

  // The next message. Fails: INTERNAL, what is wrong with it; nothing more may be added then.
  absl::Status Add(const v1::WorkerGenerateResponse& message, Clock::TimePoint now);

  // The stream has ended with OK. Fails: INTERNAL, it may not.
  absl::Status End() const { return events_.End(); }

  bool completed() const { return events_.completed(); }

  // Whether the last message has brought the request further: an event that is no Queued, or a
  // place in the queue before all earlier ones.
  bool brought_on() const { return brought_on_; }

 private:
  absl::Status AddNumbered(const v1::WorkerGenerateResponse& message);
  absl::Status CountSign(Clock::TimePoint now);
  void NoteProgress(const v1::GenerateResponse& event);
  absl::Status AddEvent(const v1::GenerateResponse& event);
  absl::Status AddPromptIds(const v1::WorkerGenerateResponse& message);

  const std::int32_t attempt_;
  const std::int32_t prompt_tokens_;  // 0: not known before the first message
  const std::int32_t vocab_size_;
  const std::string fingerprint_;  // empty: any
  const Clock::TimePoint began_;
  std::int64_t next_seq_ = 0;
  std::int64_t signs_ = 0;
  std::int64_t best_position_ = std::numeric_limits<std::int64_t>::max();  // in the queue
  bool brought_on_ = false;
  StreamContract events_;
};

}  // namespace thinkwire::rpc
