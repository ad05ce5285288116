#pragma once

#include <memory>
#include <utility>

#include "tests/fakes/async_backend.h"
#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

// Another communicator's calls, in the order of an AsyncBackend's work and recorded with it.
class AsyncCommunicator final : public Communicator {
 public:
  // `backend` must outlive the communicator.
  AsyncCommunicator(std::unique_ptr<Communicator> inner, kernels::AsyncBackend& backend)
      : inner_(std::move(inner)), backend_(backend) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  void AllReduce(const kernels::Tensor& x) override {
    backend_.Give([=, this] { inner_->AllReduce(x); });
  }
  void AllGatherColumns(const kernels::Tensor& local, const kernels::Tensor& out) override {
    backend_.Give([=, this] { inner_->AllGatherColumns(local, out); });
  }

 private:
  const std::unique_ptr<Communicator> inner_;
  kernels::AsyncBackend& backend_;
};

}  // namespace thinkwire::worker::parallel
