#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

// What the ranks of one LocalCommunicator group share: a barrier, and where each rank's tensor is.
// A CommunicatorId holds it for the ranks that are still to be opened.
// Threads: each rank's own.
class LocalGroup {
 public:
  explicit LocalGroup(int size);

  int size() const { return static_cast<int>(data_.size()); }

  // Waits until every rank has arrived. What a rank wrote before is visible to all after.
  void Arrive();

  // Where rank's tensor is: written by the rank before Arrive, read by all after it.
  float*& data(int rank) { return data_[static_cast<std::size_t>(rank)]; }

 private:
  std::vector<float*> data_;
  std::atomic<int> arrived_{0};
  std::atomic<std::uint32_t> round_{0};
};

// Ranks that are threads of this process and read each other's memory. Each rank adds up one slice
// of the elements (kernels::AddPairwise) and writes it to all, so that the sums are the same bits
// everywhere. f32 alone.
class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank);

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }
  void AllReduce(const kernels::Tensor& x) override;
  void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) override;

 private:
  const std::shared_ptr<LocalGroup> group_;
  const int rank_;
};

// The communicators of `count` ranks of `group`, from first_rank on. Waits for no other rank.
// Fails: INVALID_ARGUMENT unless there is a group, of `size` ranks, and these are among them.
absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenLocalCommunicators(
    const std::shared_ptr<LocalGroup>& group, int first_rank, int size, int count);

}  // namespace thinkwire::worker::parallel
