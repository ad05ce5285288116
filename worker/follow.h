#pragma once

#include "common/rpc/tls_certificates.h"
#include "common/rpc/trusted_peers.h"
#include "worker/config.h"

namespace thinkwire::worker {

// A worker that has ranks without rank 0, from its checkpoint to its exit code: it serves no
// requests, which its leader does, but health at --listen, SERVING once its ranks can take steps,
// and metrics. Ends with 0 once the leader has ended the group, and with the process (ControlLink)
// when the leader is lost. A stop signal is the leader's to obey: this process then still waits for
// it, for --drain_timeout_s at most.
// REQUIRES: Follows(config), SurviveSignals. `certificates` may be null.
int Follow(const WorkerConfig& config, const rpc::TrustedPeers& trusted_peers,
           const rpc::TlsCertificates* certificates);

}  // namespace thinkwire::worker
