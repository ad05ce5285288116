#pragma once

#include <memory>
#include <string>
#include <vector>

#include "worker/kernels/devices.h"

namespace thinkwire::worker::kernels {

// OpenDevices for the CPU: its threads are shared out to the ranks. Ignores config.device.
std::vector<std::unique_ptr<Backend>> OpenCpuDevices(const DeviceConfig& config,
                                                     std::string* error);

}  // namespace thinkwire::worker::kernels
