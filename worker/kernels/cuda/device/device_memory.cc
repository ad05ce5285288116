#include "worker/kernels/cuda/device/device_memory.h"

#include <cstring>

#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

void FreeDevice(void* data) { cudaFree(data); }
void FreeHost(void* data) { cudaFreeHost(data); }

}  // namespace

Buffer AllocateOnDevice(std::size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return {};
  void* data = nullptr;
  CUDA_CHECK(cudaMalloc(&data, bytes));
  CUDA_CHECK(cudaMemsetAsync(data, 0, bytes, stream));
  return Buffer(data, bytes, &FreeDevice);
}

Buffer AllocatePinned(std::size_t bytes) {
  if (bytes == 0) return {};
  void* data = nullptr;
  CUDA_CHECK(cudaMallocHost(&data, bytes));
  std::memset(data, 0, bytes);
  return Buffer(data, bytes, &FreeHost);
}

}  // namespace thinkwire::worker::kernels
