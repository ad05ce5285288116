#include "worker/kernels/cuda/stream/scratch.h"

#include <cuda_runtime_api.h>

#include "worker/kernels/check.h"
#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/device_memory.h"

namespace thinkwire::worker::kernels {

void* Scratch::AtLeast(std::size_t bytes, OpStream& stream) {
  if (memory_.bytes() < bytes) {
    cudaStreamCaptureStatus capturing = cudaStreamCaptureStatusNone;
    CUDA_CHECK(cudaStreamIsCapturing(stream.Get(), &capturing));
    Check(capturing == cudaStreamCaptureStatusNone, "the largest shapes come before a recording");
    CUDA_CHECK(cudaStreamSynchronize(stream.Get()));
    memory_ = {};
    memory_ = AllocateOnDevice(bytes, stream.Get());
  }
  return memory_.data();
}

}  // namespace thinkwire::worker::kernels
