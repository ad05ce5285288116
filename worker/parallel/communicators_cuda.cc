#include "worker/parallel/communicators.h"
#include "worker/parallel/local_communicator.h"
#include "worker/parallel/nccl_communicator.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::parallel {

std::vector<std::unique_ptr<Communicator>> OpenCommunicators(
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits& limits,
    std::string* error) {
  if (backends.size() == 1) return MakeSoloCommunicator(*backends.front());
  if (backends.front()->capabilities().kind != kernels::DeviceKind::kCuda) {
    return MakeLocalCommunicators(static_cast<int>(backends.size()));
  }
  return OpenNcclCommunicators(backends, limits, error);
}

}  // namespace thinkwire::worker::parallel
