#include "common/log_limiter.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace thinkwire {

std::optional<std::uint64_t> LogLimiter::Take(std::string_view name, const LogRate& rate,
                                              Clock::TimePoint now) {
  Bucket& bucket = BucketOf(name, rate, now);
  bucket.records =
      std::min(rate.burst, bucket.records + rate.a_second * ToSeconds(now - bucket.at));
  bucket.at = now;
  if (bucket.records < 1 || !TakeShare(bucket, rate.who, now)) {
    ++bucket.suppressed;
    return std::nullopt;
  }
  bucket.records -= 1;
  return std::exchange(bucket.suppressed, 0);
}

bool LogLimiter::TakeShare(Bucket& bucket, std::string_view who, Clock::TimePoint now) {
  if (who.empty()) return true;
  Caused& caused = CausedBy(bucket, who, now);
  const double then = caused.records + 1;
  if (then > 1 && then > kAlpha * (bucket.records - 1)) return false;
  caused.records = then;
  return true;
}

LogLimiter::Caused& LogLimiter::CausedBy(Bucket& bucket, std::string_view who,
                                         Clock::TimePoint now) {
  constexpr Clock::Duration kSweepEvery = std::chrono::seconds(1);
  auto found = bucket.by_who.find(who);
  if (found == bucket.by_who.end()) {
    if (bucket.by_who.size() >= kMaxWho && now - bucket.swept >= kSweepEvery) {
      bucket.swept = now;
      std::erase_if(bucket.by_who,
                    [now](const auto& entry) { return entry.second.RecordsAt(now) < 0.5; });
    }
    const std::string key(bucket.by_who.size() < kMaxWho ? who : "");
    found = bucket.by_who.try_emplace(key, Caused{.at = now}).first;
  }
  found->second = {.records = found->second.RecordsAt(now), .at = now};
  return found->second;
}

double LogLimiter::Caused::RecordsAt(Clock::TimePoint now) const {
  return records * std::exp2(-ToSeconds(now - at) / ToSeconds(kHalfLife));
}

LogLimiter::Bucket& LogLimiter::BucketOf(std::string_view name, const LogRate& rate,
                                         Clock::TimePoint now) {
  const auto found = buckets_.find(name);
  if (found != buckets_.end()) return found->second;
  const std::string key(buckets_.size() < kMaxNames ? name : "");
  return buckets_.try_emplace(key, Bucket{.records = rate.burst, .at = now}).first->second;
}

}  // namespace thinkwire
