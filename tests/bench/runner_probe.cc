#include "tests/bench/runner_probe.h"

#include <algorithm>
#include <utility>

namespace thinkwire::bench {

using worker::step::Plan;
using worker::step::Result;
using worker::step::Row;

void RunnerProbe::Submit(Plan plan) {
  StepStamp stamp{.num_rows = static_cast<std::int32_t>(plan.rows.size()),
                  .decode_only = std::all_of(plan.rows.begin(), plan.rows.end(),
                                             [](const Row& row) { return row.count == 1; })};
  const bool runner_is_busy = !in_flight_.empty();
  runner_.Submit(std::move(plan));
  if (runner_is_busy && last_collect_) {
    stamp.turn_seconds = ToSeconds(Clock::Real().Now() - *last_collect_);
  }
  in_flight_.push_back(stamp);
}

Result RunnerProbe::Collect() {
  Result result = runner_.Collect();
  const Clock::TimePoint now = Clock::Real().Now();
  StepStamp stamp = in_flight_.front();
  in_flight_.pop_front();
  if (last_collect_) stamp.step_seconds = ToSeconds(now - *last_collect_);
  last_collect_.reset();
  if (!in_flight_.empty()) last_collect_ = now;
  MutexLock lock(mu_);
  steps_.push_back(stamp);
  return result;
}

std::vector<StepStamp> RunnerProbe::TakeSteps() {
  MutexLock lock(mu_);
  return std::exchange(steps_, {});
}

}  // namespace thinkwire::bench
