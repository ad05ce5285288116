#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/config.h"

// The options of a worker whose ranks are in several processes.
namespace thinkwire::worker {

// Consecutive ranks.
struct RankSpan {
  std::int32_t first = 0;
  std::int32_t count = 1;
};

// What --ranks says. Fails: INVALID_ARGUMENT unless it is "A-B" or "A" of --tensor_parallel_size.
absl::StatusOr<RankSpan> RanksOf(const WorkerConfig& config);

// Of the options that belong to --ranks: all or none of them, and none that cannot be with them.
// Fails: INVALID_ARGUMENT, one sentence that names the option.
absl::Status CheckGroup(const WorkerConfig& config);

// Whether this process has ranks without rank 0: it follows another one and serves nothing.
// REQUIRES: CheckGroup.
bool Follows(const WorkerConfig& config);

}  // namespace thinkwire::worker
