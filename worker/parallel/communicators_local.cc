#include "worker/parallel/communicators.h"
#include "worker/parallel/local_communicator.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::parallel {

absl::StatusOr<CommunicatorId> MakeCommunicatorId(const kernels::Backend&, int size) {
  return CommunicatorId{.local = std::make_shared<LocalGroup>(size)};
}

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenCommunicators(
    const CommunicatorId& id, int first_rank, int size,
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits&) {
  if (size == 1) return MakeSoloCommunicator(*backends.front());
  return OpenLocalCommunicators(id.local, first_rank, size, static_cast<int>(backends.size()));
}

}  // namespace thinkwire::worker::parallel
