#include "worker/kernels/devices.h"
#include "worker/kernels/open_cpu_devices.h"

namespace thinkwire::worker::kernels {

std::string DeviceFor(const std::string& asked, int /*ranks*/) {
  return asked == "auto" ? "cpu" : asked;
}

int CountGpus() { return 0; }

std::vector<std::unique_ptr<Backend>> OpenDevices(const DeviceConfig& config, std::string* error) {
  if (config.device == "cuda") {
    *error = "device cuda was asked for, but this binary was built without CUDA";
    return {};
  }
  if (config.device != "auto" && config.device != "cpu") {
    *error = "device must be auto, cpu or cuda, not " + config.device;
    return {};
  }
  return OpenCpuDevices(config, error);
}

}  // namespace thinkwire::worker::kernels
