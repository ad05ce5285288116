#include "worker/kernels/cuda/cuda_devices.h"

#include <cuda_runtime_api.h>

namespace thinkwire::worker::kernels {

int CountCudaDevices() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

}  // namespace thinkwire::worker::kernels
