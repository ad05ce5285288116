#pragma once

#include <string>
#include <unordered_map>

#include "common/clock.h"
#include "common/peer_limits.h"

namespace thinkwire::rpc {

// Which connections do little but reset calls before these are answered ("rapid reset",
// CVE-2023-44487): each costs the server far more than the client, and no limit of open calls sees
// it. What has happened counts half after kHalfLife, so that a long-lived connection whose users
// sometimes change their minds is none of them.
//
// A connection may have kTolerated resets lately, and beyond these one for each stream of answers:
// a call of which the client was sent more than one message. Such a call took a place, a queue and
// time of its own, so that who has as many of them as resets is an ordinary client of many users.
// Calls of one answer (a health check, a refusal, an unknown method) make up for nothing: they cost
// their client no more than a reset, and a flood would pair each of its resets with one.
// Threads: one at a time.
class ResetCounts {
 public:
  static constexpr double kTolerated = kMaxResets;
  static constexpr Clock::Duration kHalfLife = kResetHalfLife;

  // A call of `connection` was reset before it was answered. True if that is more than it may: the
  // connection should be closed. It starts anew then.
  bool CountReset(const std::string& connection, Clock::TimePoint now);
  // One that was answered by more than one message is over.
  void CountStream(const std::string& connection, Clock::TimePoint now);

  // Drops connections of which nothing counts any more.
  void Forget(Clock::TimePoint now);

  std::size_t size() const { return counts_.size(); }

 private:
  struct Counts {
    double resets = 0;
    double streams = 0;
    Clock::TimePoint at;

    void DecayTo(Clock::TimePoint now);
  };

  // What counts of the connection now.
  Counts& Find(const std::string& connection, Clock::TimePoint now);

  std::unordered_map<std::string, Counts> counts_;
};

}  // namespace thinkwire::rpc
