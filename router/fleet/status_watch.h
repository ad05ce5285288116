#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "common/clock.h"
#include "router/fleet/worker_client.h"

namespace thinkwire::router::fleet {

struct WorkerStub;

// WorkerClient::Watch, over the stub's connections.
std::shared_ptr<StatusWatch> StartWatch(std::shared_ptr<WorkerStub> stub, const Clock& clock,
                                        std::function<void(WorkerClient::StatusResult)> on_status,
                                        std::function<void(absl::Status)> on_end);

}  // namespace thinkwire::router::fleet
