#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "worker/model/plan_channel.h"
#include "worker/parallel/control_link.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// The ranks of a process that follows: plans come over its connection to the leader, and the
// leader is told how the ranks do.
// Owns: the connection, the channel to its own ranks.
// Threads: as PlanChannel, whose Send and Close are the leader's alone; the others as they say.
// Fails: as ControlLink.
class FollowedPlans final : public PlanChannel {
 public:
  // The ranks of this process are the `num_ranks` from first_rank on, to which `own` leads, as its
  // ranks 0, 1, … They lag behind the leader by as many plans as it has not collected: a channel
  // that has room for fewer keeps the leader's signs of life waiting.
  FollowedPlans(std::unique_ptr<parallel::PeerLink> leader, std::int32_t first_rank,
                std::int32_t num_ranks, std::unique_ptr<PlanChannel> own);
  ~FollowedPlans() override;

  // Tells the leader how many blocks this process has memory for and waits for what all have.
  absl::StatusOr<std::int32_t> AgreeOnBlocks(std::int32_t own);

  // Tells the leader that the ranks can take steps. `beats` says from now on where they are, on any
  // thread, until StopBeats.
  void Ready(std::int64_t weight_bytes, std::function<std::vector<step::RankBeat>()> beats);
  void StopBeats();

  // Waits until the leader has ended the group.
  void AwaitEnd();

  void Send(std::shared_ptr<const step::Plan> plan) override;
  std::shared_ptr<const step::Plan> Receive(int rank) override;
  void Close() override;

 private:
  absl::Status Hear(const parallel::Frame& frame);
  absl::Status Take(const parallel::Frame& plan);
  std::string Beat() const;

  const std::int32_t first_rank_;
  const std::int32_t num_ranks_;
  const std::unique_ptr<PlanChannel> own_;
  mutable Mutex mu_;
  CondVar changed_;
  std::optional<std::uint64_t> num_blocks_ ABSL_GUARDED_BY(mu_);  // the leader's word
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::function<std::vector<step::RankBeat>()> beats_ ABSL_GUARDED_BY(mu_);
  parallel::ControlLink link_;  // the last: its threads use all
};

}  // namespace thinkwire::worker::model
