#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "worker/kernels/backend.h"

namespace thinkwire::worker::model {

// Words (i32) on their way from the host to one piece of device memory, one copy a step. The host
// fills the next step's words while the device still copies those of the steps before.
// Owns: the device's piece and `depth` pieces of pinned host memory. Threads: the rank's.
class Staging {
 public:
  // `backend` must outlive the object. REQUIRES: depth >= 1.
  Staging(std::int64_t words, std::int32_t depth, kernels::Backend& backend);

  // Host memory for the next Send, whose content is stale. Waits while the device has not copied
  // what it held `depth` Sends ago.
  std::int32_t* Begin();

  // Copies the first `words` of Begin's memory: ops given from now on find them at device().
  void Send(std::int64_t words);

  std::int32_t* device() const { return static_cast<std::int32_t*>(device_.data()); }

 private:
  struct Piece {
    kernels::Buffer words;
    std::unique_ptr<kernels::Fence> copied;
  };

  kernels::Backend& backend_;
  kernels::Buffer device_;
  std::vector<Piece> pieces_;
  std::size_t next_ = 0;  // the piece of the next Send
};

}  // namespace thinkwire::worker::model
