#pragma once

#include <functional>
#include <string>
#include <utility>

#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"

namespace thinkwire::rpc {

// A page that costs something to render, for whoever asks and however often: rendering takes no
// more than kMetricsRenderShare of the time. It may take kMetricsRenderBurst more at once, so that
// who asks now and then sees the page as it is now; once that is used up, the last one is shown
// until there is time again, which is after at most 1 / kMetricsRenderShare times what one takes.
// (An age of a second, say, would be simpler, but show everybody what is old already.)
// Threads: any; one renders, and others wait for that.
class PageCache {
 public:
  // `clock` outlives this.
  explicit PageCache(std::function<std::string()> render, const Clock& clock = Clock::Real())
      : render_(std::move(render)), clock_(clock), counted_to_(clock.Now()) {}

  std::string Get();

 private:
  void Render() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const std::function<std::string()> render_;
  const Clock& clock_;

  Mutex mu_;
  std::string page_ ABSL_GUARDED_BY(mu_);  // empty: none yet
  // What rendering may take at once; below 0: after so much more time has been earned.
  Clock::Duration budget_ ABSL_GUARDED_BY(mu_) = kMetricsRenderBurst;
  Clock::TimePoint counted_to_ ABSL_GUARDED_BY(mu_);  // of the time that the budget grows with
};

}  // namespace thinkwire::rpc
