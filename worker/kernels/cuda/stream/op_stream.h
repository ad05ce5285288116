#pragma once

#include <cuda_runtime_api.h>

#include <optional>
#include <utility>

#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/norm/rms_norm.h"
#include "worker/kernels/norm.h"
#include "worker/kernels/tensor.h"

namespace thinkwire::worker::kernels {

// The stream of a backend's ops, and at most one norm that was given but is held: if the next op is
// the product that reads what it makes, that one does it on the way. Whatever else asks for the
// stream (Get) launches it first, so the order of ops stays as given. Threads: the rank's.
class OpStream {
 public:
  // On the calling thread's GPU.
  OpStream() { CUDA_CHECK(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~OpStream() { cudaStreamDestroy(stream_); }
  OpStream(const OpStream&) = delete;
  OpStream& operator=(const OpStream&) = delete;

  // With everything on it that was given.
  cudaStream_t Get() {
    if (held_.has_value()) {
      LaunchAddRmsNorm(*held_, stream_);
      held_.reset();
    }
    return stream_;
  }

  // From now on others put work on the stream too: nothing is held any more.
  cudaStream_t Share() {
    is_shared_ = true;
    return Get();
  }

  void Norm(const ResidualNorm& norm, bool may_hold) {
    Get();
    held_ = norm;
    if (!may_hold || is_shared_) Get();
  }

  // Drops what is held, as its tensors may be gone, and waits for all else.
  void Finish() {
    held_.reset();
    cudaStreamSynchronize(stream_);
  }

  // What is held, or null.
  const ResidualNorm* held() const { return held_.has_value() ? &*held_ : nullptr; }

  // The norm that makes `x`, if it is held: the caller's to do while it writes to `out`.
  std::optional<ResidualNorm> Take(const Tensor& x, const Tensor& out) {
    if (!held_.has_value() || held_->out.data != x.data || held_->out.size() != x.size()) return {};
    for (const Tensor& of : {held_->partial, held_->residual, held_->sum, held_->out}) {
      if (of.data == out.data) return {};
    }
    return std::exchange(held_, std::nullopt);
  }

 private:
  cudaStream_t stream_ = nullptr;
  bool is_shared_ = false;
  std::optional<ResidualNorm> held_;
};

}  // namespace thinkwire::worker::kernels
