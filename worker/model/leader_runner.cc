#include "worker/model/leader_runner.h"

#include <cstddef>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::model {

LeaderRunner::LeaderRunner(Parts parts, const WeightSource& source)
    : limits_(parts.ranks.limits),
      info_(std::move(parts.info)),
      devices_(std::move(parts.devices)),
      plans_(std::move(parts.plans)),
      followers_(parts.followers),
      ranks_(std::move(parts.ranks), source, devices_, *plans_) {
  CHECK(ranks_.results() != nullptr, "the leader has rank 0");
  info_.weight_bytes = ranks_.loaded().weight_bytes;
  info_.weight_bytes_per_token = ranks_.loaded().weight_bytes_per_token;
  info_.warm_up_seconds = ranks_.loaded().warm_up_seconds;
  if (followers_ != nullptr) info_.weight_bytes += followers_->AwaitReady();
}

LeaderRunner::~LeaderRunner() { plans_->Close(); }

void LeaderRunner::Submit(step::Plan plan) {
  CHECK(in_flight_.size() < static_cast<std::size_t>(limits_.max_in_flight),
        "more plans in flight than allowed");
  CHECK(plan.step == last_step_ + 1, "a plan out of order");
  last_step_ = plan.step;
  in_flight_.push_back(std::make_shared<const step::Plan>(std::move(plan)));
  plans_->Send(in_flight_.back());
}

step::Result LeaderRunner::Collect() {
  CHECK(!in_flight_.empty(), "no plan is in flight");
  step::Result result = ranks_.results()->Pop(*in_flight_.front());
  in_flight_.pop_front();
  if (ranks_.stamps() != nullptr) ranks_.stamps()->Collected(result.step);
  return result;
}

std::vector<step::RankBeat> LeaderRunner::beats() const {
  std::vector<step::RankBeat> all = ranks_.beats();
  if (followers_ == nullptr) return all;
  const std::vector<step::RankBeat> others = followers_->beats();
  all.insert(all.end(), others.begin(), others.end());
  return all;
}

std::vector<double> LeaderRunner::TakeStepGaps() {
  return ranks_.stamps() == nullptr ? std::vector<double>{} : ranks_.stamps()->Take();
}

}  // namespace thinkwire::worker::model
