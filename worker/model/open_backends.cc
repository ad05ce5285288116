#include "worker/model/open_backends.h"

#include "worker/kernels/devices.h"

namespace thinkwire::worker::model {

std::int32_t RanksHere(const ModelOptions& options) {
  return options.group ? options.group->num_ranks : options.tensor_parallel_size;
}

OpenedBackends OpenBackends(const ModelOptions& options) {
  OpenedBackends opened;
  opened.backends = kernels::OpenDevices({options.device, RanksHere(options), options.cpu_threads},
                                         &opened.error);
  return opened;
}

std::future<OpenedBackends> OpenBackendsBeside(const ModelOptions& options) {
  return std::async(std::launch::async, [&options] { return OpenBackends(options); });
}

}  // namespace thinkwire::worker::model
