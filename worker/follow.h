#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "common/rpc/tls_certificates.h"
#include "common/rpc/trusted_peers.h"
#include "worker/config.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker {

// How the ranks of a process that follows come to be: model::LoadFollower, or what a test puts
// around it.
using FollowerLoader = std::function<absl::StatusOr<std::unique_ptr<model::Follower>>(
    const model::ModelOptions& options, std::unique_ptr<model::PlanChannel> plans)>;

// A worker that has ranks without rank 0, from its checkpoint to its exit code: it serves no
// requests, which its leader does, but health at --listen, SERVING once its ranks can take steps,
// and metrics. Ends with 0 once the leader has ended the group, and with the process (ControlLink)
// when the leader is lost. A stop signal is the leader's to obey: this process then still waits for
// it, for --drain_timeout_s at most.
// REQUIRES: Follows(config), SurviveSignals. `certificates` may be null.
int Follow(const WorkerConfig& config, const rpc::TrustedPeers& trusted_peers,
           const rpc::TlsCertificates* certificates, const FollowerLoader& load_follower);

}  // namespace thinkwire::worker
