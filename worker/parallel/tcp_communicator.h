#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/parallel/communicator.h"
#include "worker/parallel/peer_link.h"

namespace thinkwire::worker::parallel {

// A CPU rank whose peers may be in other processes and on other hosts: every other rank has one
// connection to rank 0, which hears the ranks' parts in ascending order, adds them up and sends the
// sum to all. The sums are the bits of LocalCommunicator's, which adds in the same order
// (kernels::AddPairwise). f32 alone; all hosts are little-endian. Each call sends and receives its
// tensor once a rank.
// Owns: the links. Memory: rank 0 holds SumsOfPairs parts more, of the largest tensor that it was
// given.
// Threads: the rank's own.
// Fails: a peer that is lost, late or wrong ends the process, with a sentence that names it.
class TcpCommunicator final : public Communicator {
 public:
  using Links = std::vector<std::unique_ptr<PeerLink>>;

  // REQUIRES: rank 0's links lead to the ranks 1, 2, … size - 1, in this order; another rank's
  // only link leads to rank 0.
  TcpCommunicator(int rank, int size, Links links);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  void AllReduce(const kernels::Tensor& x) override;
  void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) override;

 private:
  void AddAll(std::span<float> x);
  void PlaceAll(const kernels::Tensor& local, const kernels::Tensor& out);
  void HearPart(int rank, std::span<float> part);
  void SendWhole(std::span<const float> whole);
  void Exchange(std::span<const float> part, std::span<float> whole);  // not on rank 0

  const int rank_;
  const int size_;
  const Links links_;
  std::uint64_t call_ = 0;                 // the frames' step: calls of this rank so far
  std::vector<std::vector<float>> parts_;  // of rank 0: what is heard and added up
};

// The communicators of the `num_ranks` ranks of this process from first_rank on, of `size` in all.
// `links` lead from rank 0's process to each rank of another one, in rank order; from another
// process to rank 0, one a rank.
// Fails: INVALID_ARGUMENT for another number of links; INTERNAL the machine has no socket more.
absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenTcpCommunicators(
    int first_rank, int num_ranks, int size, TcpCommunicator::Links links);

}  // namespace thinkwire::worker::parallel
