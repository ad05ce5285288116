#pragma once

#include <cuda_runtime_api.h>

#include "worker/kernels/end_process.h"

namespace thinkwire::worker::kernels {

// A CUDA error is sticky: the context is lost, and with it the process, which says so in one line.
[[noreturn]] inline void EndOnCudaError(cudaError_t error, const char* call, const char* file,
                                        int line) {
  int device = -1;
  cudaGetDevice(&device);
  EndProcess("%s:%d: CUDA error on device %d: %s: %s", file, line, device, call,
             cudaGetErrorString(error));
}

}  // namespace thinkwire::worker::kernels

#define CUDA_CHECK(call)                                                                         \
  do {                                                                                           \
    const cudaError_t cuda_check_error = (call);                                                 \
    if (cuda_check_error != cudaSuccess) [[unlikely]] {                                          \
      ::thinkwire::worker::kernels::EndOnCudaError(cuda_check_error, #call, __FILE__, __LINE__); \
    }                                                                                            \
  } while (0)
