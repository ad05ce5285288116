#pragma once

#include <string>
#include <unordered_map>

#include "common/clock.h"
#include "common/peer_limits.h"

namespace thinkwire::rpc {

// Which connections do little but reset calls before these are answered ("rapid reset",
// CVE-2023-44487): each costs the server far more than the client, and no limit of open calls sees
// it. What has happened counts half after kHalfLife, so that a long-lived connection whose users
// often change their minds is none of them.
// Threads: one at a time.
class ResetCounts {
 public:
  static constexpr double kTolerated = kMaxResets;
  static constexpr Clock::Duration kHalfLife = kResetHalfLife;

  // One call of `connection` is over. True if there were more than kTolerated resets lately, and
  // more than calls that ended otherwise: the connection should be closed. It starts anew then.
  bool Count(const std::string& connection, bool reset, Clock::TimePoint now);

  // Drops connections of which nothing counts any more.
  void Forget(Clock::TimePoint now);

  std::size_t size() const { return counts_.size(); }

 private:
  struct Counts {
    double resets = 0;
    double others = 0;
    Clock::TimePoint at;

    void DecayTo(Clock::TimePoint now);
  };

  std::unordered_map<std::string, Counts> counts_;
};

}  // namespace thinkwire::rpc
