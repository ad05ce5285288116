#include <cuda_runtime_api.h>

#include <cstddef>

#include "tests/bench/memory_watch.h"

namespace thinkwire::bench {

std::int64_t GpuMemoryInUse() {
  std::size_t free = 0;
  std::size_t total = 0;
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return 0;
  return static_cast<std::int64_t>(total - free);
}

}  // namespace thinkwire::bench
