#include "worker/kernels/cuda/device/cuda_devices.h"

#include <cuda_runtime_api.h>

#include <cstdlib>

namespace thinkwire::worker::kernels {

int CountCudaDevices(int ranks) {
  // A kernel that is loaded at its first use could be so while another rank waits for this one in
  // a collective: load all at once. It must be said before the first call. A rank alone saves what
  // cuBLASLt then loads for good (tests/bench/RESULTS.md, "A model of 32 billion weights in 24
  // GB").
  if (ranks > 1) setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace thinkwire::worker::kernels
