#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/log.h"

namespace thinkwire {

// Which log records are written where more come than a log shall hold: of each name so many at
// once, and so many a second after that (a token bucket). It counts the others.
//
// Where it is known who causes records, nobody can use up what others need: of a name he may have
// had lately up to kAlpha times what may still be written, the rule of rpc::Shares, held to a rate.
// Alone he has nearly all, and who seldom causes any always finds some left.
// Threads: one at a time.
class LogLimiter {
 public:
  // Names have buckets of their own; beyond that many, which no code of ours has, they share one.
  static constexpr std::size_t kMaxNames = 256;
  static constexpr double kAlpha = 8;
  static constexpr Clock::Duration kHalfLife = std::chrono::seconds(10);  // what "lately" means
  // Who is counted, of each name; beyond that many they count as one, unless some have caused none
  // lately.
  static constexpr std::size_t kMaxWho = 1024;

  // Whether a record called `name` is written now: then how many of its name were not since the
  // last one that was; else nullopt.
  std::optional<std::uint64_t> Take(std::string_view name, const LogRate& rate,
                                    Clock::TimePoint now);

 private:
  // What somebody has caused lately.
  struct Caused {
    double records = 0;
    Clock::TimePoint at;

    double RecordsAt(Clock::TimePoint now) const;
  };
  struct Bucket {
    double records = 0;  // that may be written at once
    Clock::TimePoint at;
    std::uint64_t suppressed = 0;  // since the last that was written
    std::map<std::string, Caused, std::less<>> by_who = {};
    Clock::TimePoint swept = {};  // when those were dropped of whom nothing counts
  };
  Bucket& BucketOf(std::string_view name, const LogRate& rate, Clock::TimePoint now);
  // Counts one more record of `who`. False, and nothing is counted: he has had too many.
  static bool TakeShare(Bucket& bucket, std::string_view who, Clock::TimePoint now);
  static Caused& CausedBy(Bucket& bucket, std::string_view who, Clock::TimePoint now);

  std::map<std::string, Bucket, std::less<>> buckets_;
};

}  // namespace thinkwire
