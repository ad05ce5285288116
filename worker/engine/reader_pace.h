#pragma once

#include <cstdint>
#include <optional>

#include "common/clock.h"
#include "worker/engine/token_stream.h"

namespace thinkwire::worker::engine {

// Whether a reader takes its tokens fast enough to be waited for.
//
// A reader is behind from the moment that its stream is full until the stream is empty. While it is
// behind it must take three quarters of what the stream holds in every `timeout`, whether or not
// its sequence runs: with streams of 64 tokens and a minute that is 48, so that one token a second
// is enough and a few tokens now and then are not. It should take a quarter at once, at most: of
// who takes the whole in one piece this may see nothing for as long as that lasts.
// Threads: one (the engine's). Pure: reads no clock.
class ReaderPace {
 public:
  enum class Verdict : std::uint8_t {
    kKeepsUp,
    kBehind,
    kTooSlow,
  };

  // Judges by what the stream looks like at `now`, which does not go back. REQUIRES: the stream was
  // full since it was last seen empty.
  Verdict Look(const TokenStream::Reading& reading, Clock::Duration timeout, Clock::TimePoint now);

  // Since when it has been behind, or when it last took enough; nothing while it keeps up.
  std::optional<Clock::TimePoint> since() const;

 private:
  struct Mark {
    Clock::TimePoint at;
    std::uint64_t taken = 0;
  };
  std::optional<Mark> mark_;
};

}  // namespace thinkwire::worker::engine
