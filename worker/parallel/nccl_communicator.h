#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/parallel/communicators.h"

namespace thinkwire::worker::parallel {

// Ranks that are GPUs of this process, one a backend, over NCCL. Their calls are ordered by the
// backends' streams and may be recorded; a replay must be gone before its rank's communicator.
// Sums of two ranks are one bf16 addition, which has no order; more ranks are gathered and added
// up in ascending order, in f32, rounded once. So the bits depend on neither T nor NCCL's choices.
//
// AllReduce and AllGatherColumns never wait for a peer, but for room in NCCL's queue; the GPU does.
// Fails: OpenNcclCommunicators with one sentence, or the process ends if the GPUs do not come
// together in a minute; afterwards an error of NCCL or CUDA ends the process in one line.
// REQUIRES: two backends or more, of different GPUs.
std::vector<std::unique_ptr<Communicator>> OpenNcclCommunicators(
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits& limits,
    std::string* error);

}  // namespace thinkwire::worker::parallel
