#pragma once

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"
#include "worker/model/devices.h"
#include "worker/model/plan_channel.h"
#include "worker/model/step/heartbeat.h"
#include "worker/model/step/result_queue.h"
#include "worker/model/step/step_stamps.h"
#include "worker/parallel/group_watch.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// The ranks of a model that this process has: all of them, or those of one host. Each loads its
// share of the weights and then computes the plans that the channel brings, one after another; it
// gives its device the next without waiting for the one before. Who plans and who collects is not
// known here.
// Owns: one thread a rank, and the watch over their communicators.
class RankGroup {
 public:
  struct Parts {
    ModelPlan plan;
    step::Limits limits;
    bool stamp_steps = false;
  };

  // What the ranks found while they loaded.
  struct Loaded {
    std::int64_t weight_bytes = 0;            // of these ranks
    std::int64_t weight_bytes_per_token = 0;  // likewise
    double warm_up_seconds = 0;  // from the weights' being there to the first step's being taken
  };

  // Returns when each of these ranks can take steps; ranks of other processes are waited for where
  // the ranks record their steps together. Which ranks these are, and of how many, is what the
  // communicators say. `source` is not used afterwards; `devices` and `plans` must outlive the
  // group, and everything is checked: what can fail from here on ends the process.
  RankGroup(Parts parts, const WeightSource& source, const Devices& devices, PlanChannel& plans);

  // Returns when the plans that were sent are computed. REQUIRES: the channel is closed.
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  const Loaded& loaded() const { return loaded_; }

  // What rank 0 drew. Null where rank 0 is not of this group. Threads: as ResultQueue.
  ResultQueue* results() const { return results_.get(); }

  // Of rank 0. Null likewise, and without stamp_steps. Threads: as StepStamps.
  StepStamps* stamps() const { return stamps_.get(); }

  // Of each rank here, in rank order. Threads: any.
  std::vector<step::RankBeat> beats() const;

 private:
  struct Loading;  // what the ranks borrow while they load

  void Run(std::size_t index, Loading& loading);

  // Constant after construction.
  const Parts parts_;
  const Devices& devices_;
  PlanChannel& plans_;
  Loaded loaded_;
  std::unique_ptr<ResultQueue> results_;      // built on rank 0's thread
  std::unique_ptr<StepStamps> stamps_;        // likewise
  std::vector<const Heartbeat*> heartbeats_;  // each on its rank's thread
  std::vector<std::thread> threads_;
  std::unique_ptr<parallel::GroupWatch> group_watch_;
};

}  // namespace thinkwire::worker::model
