#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

#include "worker/kernels/buffer.h"

// Memory of the calling thread's GPU, and host memory that it reaches. Both end the process if
// there is none.
namespace thinkwire::worker::kernels {

// Zeroed in the order of `stream`.
Buffer AllocateOnDevice(std::size_t bytes, cudaStream_t stream);

// Zeroed host memory that copies to and from the GPU need not stop for.
Buffer AllocatePinned(std::size_t bytes);

}  // namespace thinkwire::worker::kernels
