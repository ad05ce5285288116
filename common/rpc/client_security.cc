#include "common/rpc/client_security.h"

#include <grpcpp/security/credentials.h>

#include "common/listen_address.h"
#include "common/rpc/api_key.h"
#include "common/rpc/tls_material.h"
#include "common/status.h"

namespace thinkwire::rpc {

absl::StatusOr<ChannelSecurity> MakeClientSecurity(const TlsFiles& files,
                                                   const std::string& api_key_file,
                                                   const std::string& address) {
  RETURN_IF_ERROR(CheckClientTlsFiles(files, "--tls"));
  ChannelSecurity security;
  if (!files.ca.empty()) {
    ASSIGN_OR_RETURN(const TlsMaterial material, ReadTlsFiles(files));
    security.credentials = grpc::SslCredentials({.pem_root_certs = material.ca,
                                                 .pem_private_key = material.identity,
                                                 .pem_cert_chain = material.identity});
  }
  if (api_key_file.empty()) return security;
  ASSIGN_OR_RETURN(security.api_key, ReadApiKeyFile(api_key_file));
  if (security.credentials != nullptr || IsLoopback(address)) return security;
  return absl::InvalidArgumentError(
      "--api_key_file needs --tls_ca: without TLS whoever is on the way to the router reads the "
      "key");
}

}  // namespace thinkwire::rpc
