#include "common/rpc/call_peer.h"

#include <grpcpp/server_context.h>

#include <string_view>

#include "common/rpc/client_metadata.h"
#include "common/rpc/trusted_peers.h"

namespace thinkwire::rpc {

std::string CallPeer(const grpc::CallbackServerContext& context, const TrustedPeers& trusted,
                     const TrustedPeers& forwarders) {
  const std::string sender = context.peer();
  if (forwarders.Contain(sender)) {
    std::string name = ClientMetadata(context, kPeerMetadata, kMaxPeerBytes);
    if (!name.empty()) return name;
  }
  return trusted.ShareKey(sender);
}

std::string TenantOfPeer(const grpc::CallbackServerContext& context) {
  const std::string name = ClientMetadata(context, kPeerMetadata, kMaxPeerBytes);
  const std::string_view prefix = kTenantPeer;
  return name.starts_with(prefix) ? name.substr(prefix.size()) : std::string();
}

}  // namespace thinkwire::rpc
