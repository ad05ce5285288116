#include "worker/model/follower.h"

#include <utility>

namespace thinkwire::worker::model {

Follower::Follower(Parts parts, const WeightSource& source)
    : limits_(parts.ranks.limits),
      fingerprint_(std::move(parts.fingerprint)),
      device_(std::move(parts.device)),
      devices_(std::move(parts.devices)),
      plans_(std::move(parts.plans)),
      ranks_(std::move(parts.ranks), source, devices_, *plans_) {
  plans_->Ready(ranks_.loaded().weight_bytes, [this] { return ranks_.beats(); });
}

Follower::~Follower() { plans_->StopBeats(); }

}  // namespace thinkwire::worker::model
