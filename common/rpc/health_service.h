#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/rpc/peer_places.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/trusted_peers.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace thinkwire::rpc {

// grpc.health.v1, true from the first call on: NOT_SERVING until SetServing(true). gRPC's own one
// says SERVING from its construction, before a model is loaded.
// Threads: any.
class HealthService final : public RawService {
 public:
  // Knows `names` and "", the process as a whole.
  HealthService(const std::vector<std::string>& names, const TrustedPeers& trusted_peers);
  ~HealthService() override;

  // The status of every name. Tells the watchers. No effect after Shutdown.
  void SetServing(bool serving);

  // NOT_SERVING for good, and ends the watches, which would hold the server's shutdown up.
  void Shutdown();

 private:
  class Watcher;
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;

  absl::StatusOr<grpc::ByteBuffer> Check(const grpc::ByteBuffer& request) const;
  // Fails: why `watcher` is not told of changes.
  absl::Status Add(std::shared_ptr<Watcher> watcher);
  Status StatusOf(bool known) const;  // of a name that is, or is not

  const std::set<std::string> names_;
  PeerPlaces places_;
  mutable Mutex mu_;
  bool serving_ ABSL_GUARDED_BY(mu_) = false;
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  std::map<const Watcher*, std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::rpc
