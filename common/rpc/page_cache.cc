#include "common/rpc/page_cache.h"

#include <algorithm>
#include <chrono>

namespace thinkwire::rpc {

std::string PageCache::Get() {
  MutexLock lock(mu_);
  const Clock::TimePoint now = clock_.Now();
  const auto earned =
      std::chrono::duration_cast<Clock::Duration>((now - counted_to_) * kMetricsRenderShare);
  budget_ = std::min<Clock::Duration>(budget_ + earned, kMetricsRenderBurst);
  counted_to_ = now;
  if (page_.empty() || budget_ > Clock::Duration::zero()) Render();
  return page_;
}

void PageCache::Render() {
  page_ = render_();
  const Clock::TimePoint now = clock_.Now();
  budget_ -= now - counted_to_;
  counted_to_ = now;
}

}  // namespace thinkwire::rpc
