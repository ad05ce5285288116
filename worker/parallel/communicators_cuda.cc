#include "worker/parallel/communicators.h"
#include "worker/parallel/local_communicator.h"
#include "worker/parallel/nccl_communicator.h"
#include "worker/parallel/solo_communicator.h"

namespace thinkwire::worker::parallel {
namespace {

bool IsGpu(const kernels::Backend& backend) {
  return backend.capabilities().kind == kernels::DeviceKind::kCuda;
}

}  // namespace

absl::StatusOr<CommunicatorId> MakeCommunicatorId(const kernels::Backend& backend, int size) {
  if (size > 1 && IsGpu(backend)) return MakeNcclId();
  return CommunicatorId{.local = std::make_shared<LocalGroup>(size)};
}

absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenCommunicators(
    const CommunicatorId& id, int first_rank, int size,
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits& limits) {
  if (size == 1) return MakeSoloCommunicator(*backends.front());
  if (IsGpu(*backends.front())) {
    return OpenNcclCommunicators(id, first_rank, size, backends, limits);
  }
  return OpenLocalCommunicators(id.local, first_rank, size, static_cast<int>(backends.size()));
}

}  // namespace thinkwire::worker::parallel
