#pragma once

#include <map>
#include <memory>
#include <optional>
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
// says SERVING from its construction, before a model is loaded. What it knows:
//   "", "readiness" and names of services: whether calls are worth sending here (SetServing(bool));
//   "liveness": SERVING as long as the process answers, also while it drains;
//   names of their own, "variant/NAME" say.
// Threads: any.
class HealthService final : public RawService {
 public:
  // `names` share the status of the whole, `own_names` have each theirs.
  HealthService(const std::vector<std::string>& names, const std::vector<std::string>& own_names,
                const TrustedPeers& trusted_peers);
  ~HealthService() override;

  // The status of the whole, and of what shares it. Tells the watchers. No effect after Shutdown.
  void SetServing(bool serving);

  // The same of one of the own names, which is known from now on if it was not before.
  void SetServing(const std::string& own_name, bool serving);
  // The own name is unknown from now on.
  void Forget(const std::string& own_name);

  // NOT_SERVING for good, but for liveness, and ends the watches, which would hold the server's
  // shutdown up.
  void Shutdown();

 private:
  class Watcher;
  using Status = grpc::health::v1::HealthCheckResponse::ServingStatus;

  absl::StatusOr<grpc::ByteBuffer> Check(const grpc::ByteBuffer& request) const;
  // Fails: why `watcher` is not told of changes.
  absl::Status Add(std::shared_ptr<Watcher> watcher);
  // SERVICE_UNKNOWN where the name is.
  Status StatusOf(const std::string& name) const;
  void Set(const std::string& group, bool serving) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellWatchers();

  PeerPlaces places_;
  mutable Mutex mu_;
  // Names that always have the same status are a group, called by one of them.
  std::map<std::string, std::string> group_of_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, bool> serving_ ABSL_GUARDED_BY(mu_);  // by group; absent: not
  bool shut_down_ ABSL_GUARDED_BY(mu_) = false;
  std::map<const Watcher*, std::shared_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mu_);
};

}  // namespace thinkwire::rpc
