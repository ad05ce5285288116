#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/model/checkpoint/weight_source.h"
#include "worker/model/devices.h"
#include "worker/model/followed_plans.h"
#include "worker/model/rank_group.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// The side of the model of a process that has none but the group's other ranks: computes what the
// leader plans.
// Owns: the devices, the connection to the leader and this process's ranks.
class Follower {
 public:
  // Everything is checked: what can fail from here on ends the process.
  struct Parts {
    RankGroup::Parts ranks;
    std::string fingerprint;
    std::string device;  // its name
    Devices devices;
    std::unique_ptr<FollowedPlans> plans;
  };

  // Returns when every rank here can take steps, and tells the leader. `source` is not used
  // afterwards.
  Follower(Parts parts, const WeightSource& source);
  ~Follower();  // REQUIRES: AwaitEnd has returned

  // Waits until the leader has ended the group in order.
  void AwaitEnd() { plans_->AwaitEnd(); }

  const step::Limits& limits() const { return limits_; }
  const std::string& fingerprint() const { return fingerprint_; }
  const std::string& device() const { return device_; }
  // Of this process's ranks. Threads: any.
  std::vector<step::RankBeat> beats() const { return ranks_.beats(); }

 private:
  // The ranks go first, then what they stand on.
  const step::Limits limits_;
  const std::string fingerprint_;
  const std::string device_;
  const Devices devices_;
  const std::unique_ptr<FollowedPlans> plans_;
  const RankGroup ranks_;
};

}  // namespace thinkwire::worker::model
