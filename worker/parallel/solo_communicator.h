#pragma once

#include <memory>
#include <vector>

#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

// A group of one rank on any device: there is nothing to add up.
class SoloCommunicator final : public Communicator {
 public:
  explicit SoloCommunicator(kernels::Backend& backend) : backend_(backend) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  void AllReduce(const kernels::Tensor&) override {}
  void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) override {
    backend_.CopyOnDevice(out.data, local.data, local.bytes());
  }

 private:
  kernels::Backend& backend_;
};

inline std::vector<std::unique_ptr<Communicator>> MakeSoloCommunicator(kernels::Backend& backend) {
  std::vector<std::unique_ptr<Communicator>> communicators;
  communicators.push_back(std::make_unique<SoloCommunicator>(backend));
  return communicators;
}

}  // namespace thinkwire::worker::parallel
