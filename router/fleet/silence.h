#pragma once

#include <string>

#include "common/clock.h"
#include "common/peer_limits.h"

namespace thinkwire::router::fleet {

// How long a worker may say nothing of an attempt.
struct Patience {
  Clock::Duration silence = kMaxSilence;           // at all
  Clock::Duration progress = kMaxWithoutProgress;  // that brings the request further
  Clock::Duration standstill = kMaxStandstill;     // the same where another has room for it
};

// For how long an attempt has said nothing, while somebody would have read it. Threads: one at a
// time.
class Silence {
 public:
  // The request is sent, and read from now on.
  Silence(const Patience& patience, Clock::TimePoint now)
      : patience_(patience), heard_at_(now), progress_at_(now) {}

  // A message has come, which brought the request further (rpc::AttemptContract) or did not.
  void Hear(bool brought_on, Clock::TimePoint now);
  // Nobody reads until Resume. REQUIRES: somebody does, and with Resume nobody.
  void Pause(Clock::TimePoint now);
  void Resume(Clock::TimePoint now);

  // What is too long, for the log: "said nothing for 30 s". Empty: nothing is.
  std::string WhatIsTooLong(Clock::TimePoint now) const;

  // Whether it ran, and has stood still for too long where another worker could go on with it: for
  // patience.standstill, and kStandstillEvents times as long as its events took before.
  bool StandsStill(Clock::TimePoint now) const;

 private:
  const Patience patience_;
  Clock::TimePoint heard_at_;
  Clock::TimePoint progress_at_;  // moved on by the pauses since
  Clock::TimePoint began_at_;     // when the first message that brought it on came; likewise
  int events_ = 0;                // that brought it on
  Clock::TimePoint paused_at_;
  bool paused_ = false;
};

}  // namespace thinkwire::router::fleet
