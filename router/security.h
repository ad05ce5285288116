#pragma once

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/rpc/channel.h"
#include "common/rpc/tls_certificates.h"
#include "router/callers.h"
#include "router/config.h"

namespace thinkwire::router {

// Whether the options of TLS, keys and --listen go together. Touches no file.
// Fails: INVALID_ARGUMENT, one sentence.
absl::Status CheckSecurityOptions(const RouterOptions& options);

// By what the router is known, and knows others: what the files of its options hold. They are
// watched. Outlives servers and channels. Threads: constant.
struct Security {
  std::unique_ptr<rpc::TlsCertificates> door;     // to clients; null: nothing is encrypted
  std::unique_ptr<rpc::TlsCertificates> workers;  // to workers, likewise
  std::unique_ptr<Callers> callers;               // null: everybody may call, and is no tenant

  // Fails: one sentence, which names the option or opens with the path.
  static absl::StatusOr<Security> Load(const RouterOptions& options);

  // null: nothing is encrypted.
  std::shared_ptr<grpc::ServerCredentials> ForServer() const;
  rpc::ChannelSecurity ForWorkers(const RouterOptions& options) const;
};

}  // namespace thinkwire::router
