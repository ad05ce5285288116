#include "common/rpc/call_peer.h"

#include <grpcpp/server_context.h>

#include "common/rpc/trusted_peers.h"

namespace thinkwire::rpc {
namespace {

std::string NamedPeer(const grpc::CallbackServerContext& context) {
  const auto found = context.client_metadata().find(kPeerMetadata);
  if (found == context.client_metadata().end() || found->second.size() > kMaxPeerBytes) return "";
  return std::string(found->second.data(), found->second.size());
}

}  // namespace

std::string CallPeer(const grpc::CallbackServerContext& context, const TrustedPeers& trusted,
                     const TrustedPeers& forwarders) {
  const std::string sender = context.peer();
  if (forwarders.Contain(sender)) {
    if (std::string name = NamedPeer(context); !name.empty()) return name;
  }
  return trusted.ShareKey(sender);
}

}  // namespace thinkwire::rpc
