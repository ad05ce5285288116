#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

#include "worker/kernels/cuda/device/cuda_check.h"

// Launching with programmatic dependence: a kernel may start while the one before it in the stream
// still runs. Every kernel that is launched so calls AllowNext early and WaitForPrevious before it
// touches anything that an earlier kernel wrote or reads: WaitForPrevious returns once all earlier
// kernels of the stream are done and their writes are visible.
namespace thinkwire::worker::kernels {

__device__ __forceinline__ void AllowNext() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}

__device__ __forceinline__ void WaitForPrevious() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

struct LaunchShape {
  dim3 grid;
  dim3 block;
  std::size_t shared_bytes = 0;
  unsigned cluster = 1;  // blocks of a cluster, along x; > 1 on compute capability 9.0 and up
};

// Parameters first, so that literals convert to what the kernel takes.
template <class... Params, class... Args>
void Launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
            Args&&... args) {
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim.x = shape.cluster;
  attributes[1].val.clusterDim.y = 1;
  attributes[1].val.clusterDim.z = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = shape.cluster > 1 ? 2 : 1;
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(std::forward<Args>(args))...));
}

}  // namespace thinkwire::worker::kernels
