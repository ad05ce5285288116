#pragma once

#include <string>

#include "absl/status/status.h"

namespace thinkwire::router::fleet {

// Reasons of the router's own, of what became of a worker.
inline constexpr char kWorkerLost[] = "WORKER_LOST";
inline constexpr char kWorkerSilent[] = "WORKER_SILENT";
inline constexpr char kWorkerProtocol[] = "WORKER_PROTOCOL";
inline constexpr char kWorkerCrowded[] = "WORKER_CROWDED";

// What a client is told of an error that a worker's call ended with. A reason of our domain that a
// worker may give, under its own code, passes, held to our rules of texts (rpc::Trimmed). All else,
// a worker's own words above all, stays in the router's log, and the client is told by code:
// UNAVAILABLE and CANCELLED that the worker was lost (WORKER_LOST, with RetryInfo),
// RESOURCE_EXHAUSTED that a limit of the worker was met (WORKER_LIMIT), DEADLINE_EXCEEDED itself,
// and everything else that it is no worker of ours (INTERNAL, WORKER_PROTOCOL).
// REQUIRES: !status.ok(). `worker` is its address.
absl::Status ForClient(const absl::Status& status, const std::string& worker);

// What a client is told of a worker that broke the contract; `what` stays in the log.
absl::Status ProtocolError(const std::string& worker, const std::string& what);

// What a client is told of a worker that was given up (WORKER_SILENT, with RetryInfo), as it `did`
// what Silence says, for the log.
absl::Status SilentError(const std::string& worker, const std::string& did);

// What a client is told of a worker that kept a stream standing still, where no other has gone on
// with it after all (WORKER_CROWDED, with RetryInfo).
absl::Status CrowdedError(const std::string& worker);

}  // namespace thinkwire::router::fleet
