#pragma once

#include <optional>
#include <string>

namespace thinkwire::bench {

// What the hardware gives at most, over all devices of a run together.
struct DeviceRoofs {
  std::string how;                     // what was measured, in a few words
  double read_bytes_per_second = 0;    // of the devices' memory
  double matrix_flops_per_second = 0;  // bf16 on GPUs; float32 multiply-adds on the CPU
};

// Measures for the device that a model with these options would run on; takes seconds, and holds
// device memory only meanwhile. None, and `error` says why in one sentence. CMake picks the
// definition: device_roofs_cpu.cc, or device_roofs_cuda.cu where the toolkit is there.
std::optional<DeviceRoofs> MeasureDeviceRoofs(const std::string& device, int ranks, int cpu_threads,
                                              std::string* error);

}  // namespace thinkwire::bench
