#include "worker/model/open_backends.h"

#include "worker/kernels/devices.h"
#include "worker/model/activation_dtype.h"

namespace thinkwire::worker::model {

std::int32_t RanksHere(const ModelOptions& options) {
  return options.group ? options.group->num_ranks : options.tensor_parallel_size;
}

OpenedBackends OpenBackends(const ModelOptions& options) {
  OpenedBackends opened;
  opened.backends =
      kernels::OpenDevices({.device = options.device,
                            .ranks = RanksHere(options),
                            .cpu_threads = options.cpu_threads,
                            .gpu_memory_bytes = options.gpu_memory_bytes,
                            .fp8_inputs = options.activation_dtype == kFp8Activations},
                           &opened.error);
  return opened;
}

std::future<OpenedBackends> OpenBackendsBeside(const ModelOptions& options) {
  return std::async(std::launch::async, [&options] { return OpenBackends(options); });
}

}  // namespace thinkwire::worker::model
