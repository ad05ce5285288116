#pragma once

#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "common/metrics.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/metrics_server.h"
#include "common/rpc/tls_certificates.h"
#include "common/rpc/trusted_peers.h"
#include "worker/config.h"
#include "worker/hub/progress.h"
#include "worker/hub/pull.h"

namespace prometheus {
class Gauge;
}  // namespace prometheus

namespace thinkwire::worker {

// What a worker shows of itself while it downloads its model: health at --listen, NOT_SERVING, and
// /metrics with how far it is. Nobody listens from its end until the model is loaded.
// Threads: Look on one at a time.
class DownloadDoor {
 public:
  // Fails: UNAVAILABLE an address cannot be had. `certificates`, which may be null, outlive it.
  static absl::StatusOr<std::unique_ptr<DownloadDoor>> Open(
      const WorkerConfig& config, const rpc::TrustedPeers& trusted_peers,
      const rpc::TlsCertificates* certificates);

  void Look(const hub::Progress& progress);

 private:
  DownloadDoor();

  Metrics metrics_;
  prometheus::Gauge& total_bytes_;
  prometheus::Gauge& done_bytes_;
  std::unique_ptr<rpc::MetricsServer> metrics_server_;
  std::unique_ptr<rpc::GrpcServer> server_;
};

// PullAndTell behind such a door. Fails: as both.
absl::StatusOr<std::filesystem::path> PullBehindDoor(const WorkerConfig& config,
                                                     const rpc::TrustedPeers& trusted_peers,
                                                     const rpc::TlsCertificates* certificates,
                                                     const hub::PullOptions& options);

}  // namespace thinkwire::worker
