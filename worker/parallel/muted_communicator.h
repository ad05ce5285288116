#pragma once

#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

// Another communicator, which says nothing while it is muted: sums are then this rank's part alone
// and gathered columns stay as they are, so that a rank can go through a whole step by itself.
// Threads: the rank's own, Check any one beside it.
class MutedCommunicator final : public Communicator {
 public:
  // `inner` must outlive this.
  explicit MutedCommunicator(Communicator& inner) : inner_(inner) {}

  void Mute() { muted_ = true; }
  void Unmute() { muted_ = false; }

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  void AllReduce(const kernels::Tensor& x) override {
    if (!muted_) inner_.AllReduce(x);
  }
  void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) override {
    if (!muted_) inner_.AllGatherColumns(local, out);
  }
  void AllReduceAddRmsNorm(kernels::Backend& backend, const kernels::ResidualNorm& norm) override {
    if (muted_) {
      Communicator::AllReduceAddRmsNorm(backend, norm);
    } else {
      inner_.AllReduceAddRmsNorm(backend, norm);
    }
  }
  void Check() override { inner_.Check(); }

 private:
  Communicator& inner_;
  bool muted_ = false;
};

}  // namespace thinkwire::worker::parallel
