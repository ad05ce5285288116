#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/kernels/backend.h"
#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

class LocalGroup;

// Names one group of ranks, before they can talk to each other. Made once, for all of the group;
// whoever opens some of its ranks has a copy.
struct CommunicatorId {
  // Of GPUs: plain bytes, which may go to the processes and hosts of other ranks.
  std::array<char, 128> bytes = {};
  // Of CPU ranks: what they meet in. They are threads of one process. Null for GPUs.
  std::shared_ptr<LocalGroup> local;
};

// The largest tensors that a communicator will be given.
struct CommunicatorLimits {
  std::int64_t max_tokens = 0;  // T of AllReduce
  std::int64_t hidden = 0;      // E
  std::int64_t max_rows = 0;    // L of AllGatherColumns
  std::int64_t vocab = 0;       // V of all ranks
};

// CMake picks the definitions: communicators_local.cc, or communicators_cuda.cc where the toolkit
// is there.

// The id of a new group of `size` ranks on devices of this backend's kind. REQUIRES: size >= 1.
// Fails: INTERNAL if NCCL finds no way (a network interface) to bring a group's GPUs together.
absl::StatusOr<CommunicatorId> MakeCommunicatorId(const kernels::Backend& backend, int size);

// Opens this process's ranks of the group `id`, which has `size` in all: backends[i] becomes rank
// first_rank + i, and has the i-th communicator. Between GPUs it waits for the group's other ranks
// to be opened. Takes what device memory the communicators will ever need: so before the KV cache
// is given the rest.
// REQUIRES: each rank of a group is opened once, all with the same size and limits. The backends
// outlive the communicators, and are not used meanwhile.
// Fails: INVALID_ARGUMENT for a size that the model or the id does not allow, INTERNAL if the GPUs
// cannot be connected.
absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenCommunicators(
    const CommunicatorId& id, int first_rank, int size,
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits& limits);

}  // namespace thinkwire::worker::parallel
