#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "common/mutex.h"
#include "worker/model/plan_channel.h"
#include "worker/parallel/control_link.h"
#include "worker/parallel/gather.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// The leader's way to the ranks of its group's other processes, and to its own: a plan goes to all.
// Owns: the channel to its own ranks, and a connection to each other process.
// Threads: as PlanChannel; the others as they say.
// Fails: as ControlLink, from construction to Close.
class Followers final : public PlanChannel {
 public:
  // `own` leads to this process's ranks, which are those before the members'.
  Followers(std::unique_ptr<PlanChannel> own, std::vector<parallel::Member> members);
  ~Followers() override;

  // Waits for the blocks that each process has memory for and tells all the least of them and
  // `own`. Once, on one thread.
  std::int32_t AgreeOnBlocks(std::int32_t own);

  // Waits until all ranks of the other processes can take steps. Returns their weights' bytes.
  std::int64_t AwaitReady();

  // Of the other processes' ranks, in rank order, as each said last. Threads: any.
  std::vector<step::RankBeat> beats() const;

  void Send(std::shared_ptr<const step::Plan> plan) override;
  std::shared_ptr<const step::Plan> Receive(int rank) override { return own_->Receive(rank); }
  void Close() override;

 private:
  // What a process has said so far.
  struct Said {
    std::vector<step::RankBeat> beats;
    std::optional<std::uint64_t> num_blocks;
    std::optional<std::uint64_t> weight_bytes;
  };

  absl::Status Hear(std::size_t member, const parallel::Frame& frame);
  // Waits for a number of each process: what they said first for `number`.
  std::vector<std::uint64_t> Await(std::optional<std::uint64_t> Said::*number);

  const std::unique_ptr<PlanChannel> own_;
  mutable Mutex mu_;
  CondVar changed_;
  std::vector<Said> said_ ABSL_GUARDED_BY(mu_);
  std::vector<std::unique_ptr<parallel::ControlLink>> links_;  // the last: their threads use all
};

}  // namespace thinkwire::worker::model
