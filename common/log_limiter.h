#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "common/clock.h"
#include "common/log.h"

namespace thinkwire {

// Which log records are written where more come than a log shall hold: of each name so many at
// once, and so many a second after that (a token bucket). It counts the others.
// Threads: one at a time.
class LogLimiter {
 public:
  // Names have buckets of their own; beyond that many, which no code of ours has, they share one.
  static constexpr std::size_t kMaxNames = 256;

  // Whether a record called `name` is written now: then how many of its name were not since the
  // last one that was; else nullopt.
  std::optional<std::uint64_t> Take(std::string_view name, const LogRate& rate,
                                    Clock::TimePoint now);

 private:
  struct Bucket {
    double records = 0;  // that may be written at once
    Clock::TimePoint at;
    std::uint64_t suppressed = 0;  // since the last that was written
  };
  Bucket& BucketOf(std::string_view name, const LogRate& rate, Clock::TimePoint now);

  std::map<std::string, Bucket, std::less<>> buckets_;
};

}  // namespace thinkwire
