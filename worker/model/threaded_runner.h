#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/checkpoint/model_plan.h"
#include "worker/model/checkpoint/weight_source.h"
#include "worker/model/devices.h"
#include "worker/model/fault.h"
#include "worker/model/model_runner.h"
#include "worker/model/step/heartbeat.h"
#include "worker/model/step/result_queue.h"
#include "worker/model/step/step_stamps.h"
#include "worker/parallel/communicator.h"
#include "worker/parallel/group_watch.h"
#include "worker/parallel/local_step_channel.h"

namespace thinkwire::worker::model {

// One thread a rank, fed with plans through a StepChannel. A rank gives its device the next step
// without waiting for the one before; the engine's thread waits, in Collect, for rank 0's.
// Owns: the threads, backends and communicators, and the watch over the group.
class ThreadedRunner final : public ModelRunner {
 public:
  // Everything is checked: what can fail from here on ends the process.
  struct Parts {
    ModelPlan plan;
    ModelInfo info;  // without what the weights take
    step::Limits limits;
    Devices devices;
    bool stamp_steps = false;
    Fault fault;
  };

  // Returns when every rank can take steps. `source` is not used afterwards.
  ThreadedRunner(Parts parts, const WeightSource& source);
  ~ThreadedRunner() override;  // steps in flight are computed, and their results dropped

  const ModelInfo& info() const override { return parts_.info; }
  const step::Limits& limits() const override { return parts_.limits; }
  void Submit(step::Plan plan) override;
  step::Result Collect() override;
  std::vector<step::RankBeat> beats() const override;
  std::vector<double> TakeStepGaps() override;

 private:
  struct Loading;  // what the ranks borrow while they load

  int num_ranks() const { return static_cast<int>(parts_.devices.backends.size()); }
  void RunRank(int rank, Loading& loading);

  // Constant after construction.
  Parts parts_;
  std::unique_ptr<ResultQueue> results_;      // of rank 0, built on its thread
  std::unique_ptr<StepStamps> stamps_;        // likewise; null without stamp_steps
  std::vector<const Heartbeat*> heartbeats_;  // by rank, each on its rank's thread
  parallel::LocalStepChannel<step::Plan> channel_;
  std::vector<std::thread> threads_;
  std::optional<parallel::GroupWatch> group_watch_;

  // Engine thread only.
  std::deque<std::shared_ptr<const step::Plan>> in_flight_;
  std::uint64_t last_step_ = 0;

  // Summed over the ranks while they load.
  std::atomic<std::int64_t> weight_bytes_ = 0;
  std::atomic<std::int64_t> weight_bytes_per_token_ = 0;
};

}  // namespace thinkwire::worker::model
