#pragma once

#include <cstddef>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/stream/op_stream.h"

namespace thinkwire::worker::kernels {

// Memory that a stream's ops use one after another: each finds in it what the last one left.
// Owns: the memory. Threads: the stream's.
class Scratch {
 public:
  // At least so many bytes, as they were, or, if they were fewer, zeroed ones. It grows after a
  // wait for the stream, and never while the stream is recorded: the largest op comes before.
  // REQUIRES: the same stream each time.
  void* AtLeast(std::size_t bytes, OpStream& stream);

 private:
  Buffer memory_;
};

}  // namespace thinkwire::worker::kernels
