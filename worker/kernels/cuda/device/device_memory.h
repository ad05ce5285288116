#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <vector>

#include "worker/kernels/buffer.h"

// Memory of the calling thread's GPU, and host memory that it reaches. All of it ends the process
// if there is none.
namespace thinkwire::worker::kernels {

// Zeroed in the order of `stream`.
Buffer AllocateOnDevice(std::size_t bytes, cudaStream_t stream);

// Zeroed host memory that copies to and from the GPU need not stop for, and that its kernels read.
Buffer AllocatePinned(std::size_t bytes);

// Memory of one GPU for what stays: pieces of what was taken ahead, while that lasts, and after
// that each by itself. cudaMalloc gives whole 2 MiB, of which a matrix leaves half on average: that
// is 0.2 to 0.4 GB of a model of 32 billion weights in 4 bits.
// Owns: what was taken ahead, which must outlive the pieces. Threads: one at a time.
class DeviceMemory {
 public:
  // From now on pieces are of these bytes; what is left of earlier ones is not used any more.
  void TakeAhead(std::size_t bytes, cudaStream_t stream);

  // Zeroed in the order of `stream`.
  Buffer Allocate(std::size_t bytes, cudaStream_t stream);

 private:
  std::vector<Buffer> ahead_;
  std::byte* next_ = nullptr;  // in the last of them
  std::size_t left_ = 0;       // from there on
};

}  // namespace thinkwire::worker::kernels
