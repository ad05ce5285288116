#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>

#include "router/decision/worker_view.h"

namespace thinkwire::router::decision {

struct WorkerChoice {
  std::size_t worker = 0;  // index into the workers that were given
  std::string reason;      // for people
};

// The live worker of `variant` with least to do that is not among `tried`, in this order:
//   1. fewest requests for its size: (load + 1) / max_num_seqs, where load is what the worker says
//      that it has, queued and running, or what this router has there, if that is more: a status
//      does not tell yet of requests that were sent after it, and other routers send too;
//   2. most free KV blocks;
//   3. the one that this router gave fewest requests so far; then the first.
// Nullopt: none is live. Costs one look at each worker.
//
// Why all are looked at, and not two of them drawn at random (the power of two choices, as Envoy's
// least_request_lb.h does): that spares a scan over thousands of hosts, for requests of
// milliseconds. A variant has 256 workers at most and a request lasts from seconds to an hour, so
// that the scan costs nothing beside what one bad choice does. Two at random also keep balancers
// that know the same stale loads from choosing the same host. Of that danger our own leases take
// this router's part; several routers whose statuses are up to 100 ms old may still agree on one
// worker for so long.
std::optional<WorkerChoice> ChooseLeastLoaded(std::size_t variant,
                                              std::span<const WorkerView> workers,
                                              std::span<const std::size_t> tried = {});

}  // namespace thinkwire::router::decision
