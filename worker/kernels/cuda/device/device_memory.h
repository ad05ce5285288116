#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "worker/kernels/buffer.h"
#include "worker/kernels/cuda/device/op_stream.h"

// Memory of the calling thread's GPU, and host memory that it reaches. Both end the process if
// there is none.
namespace thinkwire::worker::kernels {

// Zeroed in the order of `stream`.
Buffer AllocateOnDevice(std::size_t bytes, cudaStream_t stream);

// Zeroed host memory that copies to and from the GPU need not stop for.
Buffer AllocatePinned(std::size_t bytes);

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
