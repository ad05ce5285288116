#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "common/clock.h"
#include "router/fleet/worker_client.h"

namespace thinkwire::router::fleet {

// Asks the worker to generate one token, of a prompt of one, through the queue and the connection
// that every request goes through, in the router's own name: what answers that serves. Takes at
// most kProbeTimeout; nobody's usage or metric counts it. `on_end` is called once, maybe before
// this returns and maybe on a gRPC thread, with OK if the stream was whole and kept to the
// contract. The attempt that is returned may be cancelled.
std::shared_ptr<WorkerAttempt> StartProbe(const WorkerClient& client, const std::string& variant,
                                          const Clock& clock,
                                          std::function<void(const absl::Status&)> on_end);

}  // namespace thinkwire::router::fleet
