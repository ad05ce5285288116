#pragma once

#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/kernels/backend.h"
#include "worker/parallel/communicators.h"

namespace thinkwire::worker::parallel {

// The id of a new group of GPUs, of this process or of several.
absl::StatusOr<CommunicatorId> MakeNcclId();

// Ranks that are GPUs, one a backend, over NCCL. Their calls are ordered by the backends' streams
// and may be recorded; a replay must be gone before its rank's communicator.
// Sums of two ranks are one bf16 addition, which has no order; more ranks are gathered and added
// up in ascending order, in f32, rounded once. So the bits depend on neither T nor NCCL's choices.
//
// AllReduce and AllGatherColumns never wait for a peer, but for room in NCCL's queue; the GPU does.
// Where all ranks are of this process and reach each other's memory, few rows are summed through
// it. Fails: OpenNcclCommunicators by its status, or the process ends if the GPUs do not come
// together in a minute; afterwards an error of NCCL or CUDA ends the process in one line. REQUIRES:
// as OpenCommunicators; two ranks or more, of different GPUs.
absl::StatusOr<std::vector<std::unique_ptr<Communicator>>> OpenNcclCommunicators(
    const CommunicatorId& id, int first_rank, int size,
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits& limits);

}  // namespace thinkwire::worker::parallel
