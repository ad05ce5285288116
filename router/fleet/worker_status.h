#pragma once

#include "absl/status/statusor.h"
#include "router/decision/worker_view.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::router::fleet {

// What `status` says, held to what worker.proto says that it may: a worker that is believed to have
// any number of places draws every request.
// Fails: INVALID_ARGUMENT, which of its numbers is in no range, for the log and as why it is not
// live.
absl::StatusOr<decision::WorkerStatus> ReadStatus(const v1::WatchStatusResponse& status);

}  // namespace thinkwire::router::fleet
