#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/mutex.h"
#include "common/peer_limits.h"
#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::router {

// Which outputs of one request shall answer now (AnswerNow), and which may still reason: so that
// whoever asks is told how many it concerns, and each next worker what the one before it may have
// taken with it. Threads: any.
class AnswerWishes {
 public:
  // What is asked for: its outputs have yet to reason, or have done so where it goes on with some.
  // Once; wishes may have come before.
  void Begin(const v1::GenerateRequest& request);

  // The next event of the stream.
  void Note(const v1::GenerateResponse& event);

  // That output shall answer now, nullopt: all. Returns how many still reason that were not asked
  // before. REQUIRES: `output` in [0, kMaxOutputs).
  std::int32_t Ask(std::optional<std::int32_t> output);

  // What a worker must hear, by output; nullopt: all. Empty: nothing.
  std::vector<std::optional<std::int32_t>> Open() const;

 private:
  using Outputs = std::bitset<static_cast<std::size_t>(kMaxOutputs)>;

  mutable Mutex mu_;
  Outputs reasoning_ ABSL_GUARDED_BY(mu_);  // those that have not ended it
  Outputs asked_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::router
