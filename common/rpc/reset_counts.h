#pragma once

#include <string>
#include <unordered_map>

#include "common/clock.h"
#include "common/peer_limits.h"

namespace thinkwire::rpc {

// Which peers do little but reset calls before these are answered ("rapid reset", CVE-2023-44487):
// each costs the server far more than the client, and no limit of open calls sees it. What has
// happened counts half after kHalfLife, so that one whose users sometimes change their minds is
// none of them.
//
// A peer (a PeerKey: the count outlives its connections, or a flood would have its tolerated resets
// anew with each) may have kTolerated resets lately, and beyond these one for each stream of
// answers: a call of which the client was sent more than one message. Such a call took a place, a
// queue and time of its own, so that who has as many of them as resets is an ordinary client of
// many users. Calls of one answer (a health check, a refusal, an unknown method) make up for
// nothing: they cost their client no more than a reset, and a flood would pair each of its resets
// with one. No more than twice what it may is counted, so that who stops is tolerated again after
// kHalfLife. Threads: one at a time.
class ResetCounts {
 public:
  static constexpr double kTolerated = kMaxResets;
  static constexpr Clock::Duration kHalfLife = kResetHalfLife;

  // A call of `peer` was reset before it was answered. True if that is more than it may: the call's
  // connection should be closed.
  bool CountReset(const std::string& peer, Clock::TimePoint now);
  // One that was answered by more than one message is over.
  void CountStream(const std::string& peer, Clock::TimePoint now);

  // Drops peers of whom nothing counts any more.
  void Forget(Clock::TimePoint now);

  std::size_t size() const { return counts_.size(); }

 private:
  struct Counts {
    double resets = 0;
    double streams = 0;
    Clock::TimePoint at;

    void DecayTo(Clock::TimePoint now);
  };

  // What counts of the peer now.
  Counts& Find(const std::string& peer, Clock::TimePoint now);

  std::unordered_map<std::string, Counts> counts_;
};

}  // namespace thinkwire::rpc
