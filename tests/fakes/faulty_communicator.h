#pragma once

#include <functional>
#include <utility>

#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

// A rank that fails: its `fatal_call`-th collective, counted from 1, runs `fault` instead and never
// enters the group. Borrows the rank that works.
class FaultyCommunicator final : public Communicator {
 public:
  FaultyCommunicator(Communicator& working, int fatal_call, std::function<void()> fault)
      : working_(working), fatal_call_(fatal_call), fault_(std::move(fault)) {}

  int rank() const override { return working_.rank(); }
  int size() const override { return working_.size(); }
  void AllReduce(const kernels::Tensor& x) override {
    if (IsFatal()) return fault_();
    working_.AllReduce(x);
  }
  void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) override {
    if (IsFatal()) return fault_();
    working_.AllGatherColumns(local, out);
  }
  void AllReduceAddRmsNorm(kernels::Backend& backend, const kernels::ResidualNorm& norm) override {
    if (IsFatal()) return fault_();
    working_.AllReduceAddRmsNorm(backend, norm);
  }
  void Check() override { working_.Check(); }

 private:
  bool IsFatal() { return ++calls_ == fatal_call_; }

  Communicator& working_;
  const int fatal_call_;
  const std::function<void()> fault_;
  int calls_ = 0;
};

}  // namespace thinkwire::worker::parallel
