#include "router/security.h"

#include "common/listen_address.h"
#include "common/status.h"

namespace thinkwire::router {

absl::Status CheckSecurityOptions(const RouterOptions& options) {
  const bool tls = !options.tls.certificate.empty();
  RETURN_IF_ERROR(CheckListen(options.listen, options.insecure_listen || tls));
  if (!options.http.listen.empty()) {
    RETURN_IF_ERROR(
        CheckListen("http_listen", options.http.listen, options.insecure_listen || tls));
  }
  RETURN_IF_ERROR(CheckServerTlsFiles(options.tls, "--tls"));
  RETURN_IF_ERROR(CheckClientTlsFiles(options.worker_tls, "--worker_tls"));
  if (!options.worker_tls_name.empty() && options.worker_tls.ca.empty()) {
    return absl::InvalidArgumentError("--worker_tls_name needs --worker_tls_ca");
  }
  if (options.share_prefixes && !options.api_keys.empty()) {
    return absl::InvalidArgumentError(
        "--share_prefixes and --api_keys exclude each other: tenants share no cached prompts");
  }
  return absl::OkStatus();
}

absl::StatusOr<Security> Security::Load(const RouterOptions& options) {
  Security security;
  if (!options.tls.certificate.empty()) {
    ASSIGN_OR_RETURN(security.door, rpc::TlsCertificates::Load(options.tls, "router"));
  }
  if (!options.worker_tls.ca.empty()) {
    ASSIGN_OR_RETURN(security.workers,
                     rpc::TlsCertificates::Load(options.worker_tls, "router to workers"));
  }
  if (!options.api_keys.empty()) {
    ASSIGN_OR_RETURN(security.callers, Callers::Load(options.api_keys));
  }
  return security;
}

std::shared_ptr<grpc::ServerCredentials> Security::ForServer() const {
  return door == nullptr ? nullptr : door->ForServer();
}

rpc::ChannelSecurity Security::ForWorkers(const RouterOptions& options) const {
  if (workers == nullptr) return {};
  return {.credentials = workers->ForChannels(), .server_name = options.worker_tls_name};
}

}  // namespace thinkwire::router
