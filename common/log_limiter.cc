#include "common/log_limiter.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace thinkwire {

std::optional<std::uint64_t> LogLimiter::Take(std::string_view name, const LogRate& rate,
                                              Clock::TimePoint now) {
  Bucket& bucket = BucketOf(name, rate, now);
  bucket.records =
      std::min(rate.burst, bucket.records + rate.a_second * ToSeconds(now - bucket.at));
  bucket.at = now;
  if (bucket.records < 1) {
    ++bucket.suppressed;
    return std::nullopt;
  }
  bucket.records -= 1;
  return std::exchange(bucket.suppressed, 0);
}

LogLimiter::Bucket& LogLimiter::BucketOf(std::string_view name, const LogRate& rate,
                                         Clock::TimePoint now) {
  const auto found = buckets_.find(name);
  if (found != buckets_.end()) return found->second;
  const std::string key(buckets_.size() < kMaxNames ? name : "");
  return buckets_.try_emplace(key, Bucket{.records = rate.burst, .at = now}).first->second;
}

}  // namespace thinkwire
