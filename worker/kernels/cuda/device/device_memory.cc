#include "worker/kernels/cuda/device/device_memory.h"

#include <cstring>
#include <utility>

#include "worker/kernels/backend.h"
#include "worker/kernels/cuda/device/cuda_check.h"

namespace thinkwire::worker::kernels {
namespace {

void FreeDevice(void* data) { cudaFree(data); }
void FreeHost(void* data) { cudaFreeHost(data); }
void FreeWithTheRest(void* /*data*/) {}

constexpr std::size_t Aligned(std::size_t bytes) {
  return (bytes + kAheadAlignment - 1) / kAheadAlignment * kAheadAlignment;
}

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

void DeviceMemory::TakeAhead(std::size_t bytes, cudaStream_t stream) {
  ahead_.push_back(AllocateOnDevice(bytes, stream));
  next_ = static_cast<std::byte*>(ahead_.back().data());
  left_ = bytes;
}

Buffer DeviceMemory::Allocate(std::size_t bytes, cudaStream_t stream) {
  const std::size_t taken = Aligned(bytes);
  if (bytes == 0 || taken > left_) return AllocateOnDevice(bytes, stream);
  left_ -= taken;
  return Buffer(std::exchange(next_, next_ + taken), bytes, &FreeWithTheRest);
}

}  // namespace thinkwire::worker::kernels
