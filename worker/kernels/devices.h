#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "worker/kernels/backend.h"

namespace thinkwire::worker::kernels {

struct DeviceConfig {
  std::string device = "auto";  // "auto", "cpu" or "cuda"
  int ranks = 1;                // tensor parallel size, >= 1
  int cpu_threads = 0;          // over all ranks; 0: one a core this process may use
  // What each GPU may have in use at most, CUDA's own and other processes' included, as if it had
  // no more; 0: what it has.
  std::int64_t gpu_memory_bytes = 0;
  // Products with weights in FP8 round their inputs to FP8 too, each token's by a scale of its own:
  // on the CPU, and on GPUs that multiply such numbers (compute capability 9.0). Of others it says
  // nothing. Capabilities::name has "-fp8_inputs" where it is so.
  bool fp8_inputs = false;
};

// The device that `asked` names here: "auto" is cuda where the binary has it and a GPU is there. To
// be called before anything else of CUDA's where a model has several `ranks`, here and elsewhere:
// they need all kernels loaded at the start, where one alone loads each when it is first used.
std::string DeviceFor(const std::string& asked, int ranks);

// GPUs that this process may use; 0: the binary has no CUDA, or no driver is there.
int CountGpus();

// One backend a rank, or none and `error` says why in one sentence. CMake picks the definition:
// devices_cpu.cc, or devices_cuda.cc where the toolkit is there.
std::vector<std::unique_ptr<Backend>> OpenDevices(const DeviceConfig& config, std::string* error);

}  // namespace thinkwire::worker::kernels
