#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/parallel/communicator.h"

namespace thinkwire::worker::parallel {

// The largest tensors that a communicator will be given.
struct CommunicatorLimits {
  std::int64_t max_tokens = 0;  // T of AllReduce
  std::int64_t hidden = 0;      // E
  std::int64_t max_rows = 0;    // L of AllGatherColumns
  std::int64_t vocab = 0;       // V of all ranks
};

// One communicator a backend, in rank order, or none and `error` says why in one sentence. Takes
// what device memory it will ever need: so before the KV cache is given the rest. CMake picks the
// definition: communicators_local.cc, or communicators_cuda.cc where the toolkit is there.
// REQUIRES: the backends outlive the communicators, and are not used meanwhile.
std::vector<std::unique_ptr<Communicator>> OpenCommunicators(
    std::span<const std::unique_ptr<kernels::Backend>> backends, const CommunicatorLimits& limits,
    std::string* error);

}  // namespace thinkwire::worker::parallel
