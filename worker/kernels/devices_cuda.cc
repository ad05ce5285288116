#include <algorithm>

#include "worker/kernels/cuda/cuda_backend.h"
#include "worker/kernels/cuda/device/cuda_devices.h"
#include "worker/kernels/devices.h"
#include "worker/kernels/open_cpu_devices.h"

namespace thinkwire::worker::kernels {

std::string DeviceFor(const std::string& asked, int ranks) {
  if (asked == "cpu") return asked;
  const int gpus = CountCudaDevices(ranks);
  if (asked != "auto") return asked;
  return gpus > 0 ? "cuda" : "cpu";
}

int CountGpus() { return CountCudaDevices(1); }

std::vector<std::unique_ptr<Backend>> OpenDevices(const DeviceConfig& config, std::string* error) {
  const std::string device = DeviceFor(config.device, config.ranks);
  if (device == "cpu") return OpenCpuDevices(config, error);
  const int gpus = CountCudaDevices(config.ranks);
  std::vector<std::unique_ptr<Backend>> backends;
  if (device != "cuda") {
    *error = "device must be auto, cpu or cuda, not " + device;
  } else if (gpus == 0) {
    *error = "device cuda was asked for, but there is no GPU that the driver shows";
  } else if (config.ranks < 1 || config.ranks > gpus) {
    *error = "the tensor parallel size must be from 1 to " + std::to_string(gpus) +
             ", the number of GPUs, not " + std::to_string(config.ranks);
  } else {
    for (int rank = 0; rank < config.ranks; ++rank) {
      backends.push_back(
          std::make_unique<CudaBackend>(rank, config.gpu_memory_bytes, config.fp8_inputs));
    }
  }
  return backends;
}

}  // namespace thinkwire::worker::kernels
