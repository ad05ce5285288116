#pragma once

#include <cstdint>

#include "common/clock.h"

namespace thinkwire::worker::engine {

// What a peer has had of the device's time lately, and may have of the next step (TimeShare's).
struct TimeUse {
  double used = 0;  // seconds, that count less with their age
  // What it could have had and has no claim on, while it stays; ages as `used` does.
  double forgone = 0;
  Clock::TimePoint used_at;
  // While others come first: seconds that its rows may add to steps, saved up over them.
  double allowance = 0;
  std::uint64_t held_in = 0;   // the last division in which its allowance binds
  std::uint64_t last_row = 0;  // handle of the sequence that had a row last
  bool wants_much = false;     // has wanted much more than who came first
  bool stuck = false;          // came first, but had no row, and none since

  double counted() const { return used + forgone; }
};

// One who asks, while he has sequences: what he holds of what all share. Whom Request::peer names.
struct Peer {
  std::int32_t sequences = 0;  // of any state
  std::int32_t running = 0;    // of them, kRunning
  // The last step planned before one of his got a slot, or was done with it.
  std::uint64_t served_step = 0;
  TimeUse time = {};
};

}  // namespace thinkwire::worker::engine
