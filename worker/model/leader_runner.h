#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "worker/model/checkpoint/weight_source.h"
#include "worker/model/devices.h"
#include "worker/model/followers.h"
#include "worker/model/model_runner.h"
#include "worker/model/plan_channel.h"
#include "worker/model/rank_group.h"

namespace thinkwire::worker::model {

// The side of the model that the engine sees, in the process that has rank 0: sends each plan to
// all ranks and collects what rank 0 drew for it.
// Owns: the devices, the channel, the plans in flight and this process's ranks.
class LeaderRunner final : public ModelRunner {
 public:
  // Everything is checked: what can fail from here on ends the process.
  struct Parts {
    RankGroup::Parts ranks;
    ModelInfo info;  // without what the ranks find while they load
    Devices devices;
    std::unique_ptr<PlanChannel> plans;
    // Where other processes have ranks too: what `plans` is. Null: all are here.
    Followers* followers = nullptr;
  };

  // Returns when every rank of the group can take steps. `source` is not used afterwards.
  LeaderRunner(Parts parts, const WeightSource& source);
  ~LeaderRunner() override;  // steps in flight are computed, and their results dropped

  const ModelInfo& info() const override { return info_; }
  const step::Limits& limits() const override { return limits_; }
  void Submit(step::Plan plan) override;
  step::Result Collect() override;
  std::vector<step::RankBeat> beats() const override;
  std::vector<double> TakeStepGaps() override;

 private:
  // Constant after construction. The ranks go first, then what they stand on.
  const step::Limits limits_;
  ModelInfo info_;
  const Devices devices_;
  const std::unique_ptr<PlanChannel> plans_;
  Followers* const followers_;
  RankGroup ranks_;

  // Engine thread only.
  std::deque<std::shared_ptr<const step::Plan>> in_flight_;
  std::uint64_t last_step_ = 0;
};

}  // namespace thinkwire::worker::model
