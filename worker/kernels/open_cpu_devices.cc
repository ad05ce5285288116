#include "worker/kernels/open_cpu_devices.h"

#include <algorithm>
#include <thread>

#include "worker/kernels/cpu/cpu_backend.h"

namespace thinkwire::worker::kernels {

std::vector<std::unique_ptr<Backend>> OpenCpuDevices(const DeviceConfig& config,
                                                     std::string* error) {
  std::vector<std::unique_ptr<Backend>> backends;
  if (config.ranks < 1) {
    *error = "the tensor parallel size must be at least 1, not " + std::to_string(config.ranks);
    return backends;
  }
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  const int threads = config.cpu_threads > 0 ? config.cpu_threads : std::max(1, cores);
  for (int rank = 0; rank < config.ranks; ++rank) {
    const int share = threads / config.ranks + (rank < threads % config.ranks ? 1 : 0);
    backends.push_back(
        std::make_unique<CpuBackend>(std::max(1, share), BestIsa(), config.fp8_inputs));
  }
  return backends;
}

}  // namespace thinkwire::worker::kernels
