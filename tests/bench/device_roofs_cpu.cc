#include "tests/bench/device_roofs.h"
#include "tests/bench/host_roofs.h"

namespace thinkwire::bench {

std::optional<DeviceRoofs> MeasureDeviceRoofs(const std::string& device, int /*ranks*/,
                                              int cpu_threads, std::string* error) {
  if (device != "auto" && device != "cpu") {
    *error = "no roofs of device " + device + ": this binary was built without CUDA";
    return std::nullopt;
  }
  return MeasureHostRoofs(cpu_threads);
}

}  // namespace thinkwire::bench
