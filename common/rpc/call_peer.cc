#include "common/rpc/call_peer.h"

#include <grpcpp/server_context.h>

#include "common/rpc/peers.h"
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
                     Believe believe) {
  const std::string sender = context.peer();
  const bool believed =
      trusted.Contain(sender) || (believe == Believe::kThisMachineToo && IsLoopbackPeer(sender));
  if (believed) {
    if (std::string name = NamedPeer(context); !name.empty()) return name;
  }
  return trusted.ShareKey(sender);
}

}  // namespace thinkwire::rpc
