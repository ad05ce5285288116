#pragma once

#include "worker/kernels/backend.h"

namespace thinkwire::worker::parallel {

// One rank's way to the others of its group. Every rank makes the same calls in the same order with
// equal shapes. Threads: the rank's own unless said. Fails: an error or a lost peer ends the
// process.
class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  // x becomes the sum over ranks, the same bits on every rank: on the CPU in the order of
  // kernels::AddPairwise, on GPUs that read each other's memory by ascending rank. act [T, E].
  virtual void AllReduce(const kernels::Tensor& x) = 0;

  // out[l] = the ranks' local[l] side by side, in rank order. local f32 [L, V / R], out f32 [L, V].
  // Logits whole, not each rank's candidates: where top_p cuts, and what a log-probability is, are
  // sums over the whole row in one order. At V = 152,064 that is 0.3 MB a row and rank on two.
  virtual void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) = 0;

  // AllReduce(norm.partial), then Backend::AddRmsNorm. A kernel over peer memory may replace the
  // two.
  virtual void AllReduceAddRmsNorm(kernels::Backend& backend, const kernels::ResidualNorm& norm);

  // Ends the process, in one line, if this rank's device has failed or its group says so. Never
  // waits, also while the rank is stuck. Threads: any one, beside the rank's.
  virtual void Check() {}
};

}  // namespace thinkwire::worker::parallel
