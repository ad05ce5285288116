#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "worker/kernels/cuda/device/cuda_check.h"
#include "worker/kernels/cuda/device/launch.cuh"
#include "worker/kernels/cuda/sampling/draw_order.cuh"

// Launching kernels that give each row of logits a cluster, and each block of it a Slice.
namespace thinkwire::worker::kernels::draw {

inline constexpr std::size_t kMaxSharedBytes = 227 << 10;

inline int DeviceAttribute(cudaDeviceAttr attribute) {
  int device = 0;
  int value = 0;
  CUDA_CHECK(cudaGetDevice(&device));
  CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));
  return value;
}

// Blocks a row: more while rows are few, so that they share out the device's SMs. 16 are possible
// where two of them share an SM and an SM group has eight, as on compute capability 9.0.
inline unsigned ClusterFor(int major, std::int32_t rows) {
  if (major < 9) return 1;
  return major == 9 && rows <= 8 ? kMaxCluster : 8;
}

template <class Params>
void LaunchClusters(void (*kernel)(Params), unsigned cluster, std::size_t shared_bytes,
                    const Params& params, cudaStream_t stream) {
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared_bytes)));
  CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                  cudaSharedmemCarveoutMaxShared));
  if (cluster > 8) {
    CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
  }
  const auto rows = static_cast<unsigned>(params.view.num_rows);
  Launch(kernel,
         {.grid = dim3(rows * cluster),
          .block = dim3(kThreads),
          .shared_bytes = shared_bytes,
          .cluster = cluster},
         stream, params);
}

// Columns a block, if so many share a row's.
inline std::int32_t SliceOf(std::int32_t vocab_size, unsigned blocks) {
  const std::int32_t groups = (vocab_size + 3) / 4;
  return 4 * ((groups + static_cast<int>(blocks) - 1) / static_cast<int>(blocks));
}
// A block's shared memory, with a slice of so many columns from `offset` on.
inline std::size_t SliceBytes(std::size_t offset, std::int32_t slice) {
  return offset + sizeof(float) * static_cast<std::size_t>(slice);
}

// Launches `copied`, whose blocks hold their columns in shared memory from slice_offset on, or,
// where those do not fit, `read`, one block a row. Sets params.slice, the columns of a block.
template <class Params>
void LaunchRows(void (*copied)(Params), void (*read)(Params), std::size_t slice_offset,
                Params params, cudaStream_t stream) {
  if (params.view.num_rows == 0) return;
  const std::int32_t n = params.view.vocab_size;
  const unsigned cluster =
      ClusterFor(DeviceAttribute(cudaDevAttrComputeCapabilityMajor), params.view.num_rows);
  const std::int32_t slice = SliceOf(n, cluster);
  const std::size_t bytes = SliceBytes(slice_offset, slice);
  if (cluster > 1 && bytes <= kMaxSharedBytes) {
    params.slice = slice;
    LaunchClusters(copied, cluster, bytes, params, stream);
  } else {
    params.slice = n;
    LaunchClusters(read, 1, slice_offset, params, stream);
  }
}

}  // namespace thinkwire::worker::kernels::draw
