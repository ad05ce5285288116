#pragma once

#include <cstddef>
#include <string>

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace thinkwire::rpc {

class TrustedPeers;

// Metadata in which a router names to a worker whose call it passes on, as a gateway may to a
// router: a forwarder. It is a tenant's, "tenant/NAME", where the router has tenants.
inline constexpr char kPeerMetadata[] = "thinkwire-peer";
inline constexpr char kTenantPeer[] = "tenant/";  // so that no address is taken for a tenant's name
inline constexpr std::size_t kMaxPeerBytes = 64;  // of a name; a longer one is not believed

// By whom Shares counts a call: the name in its metadata, if one of `forwarders` sent it, else
// TrustedPeers::ShareKey of the sender. A router's forwarders are its trusted peers, a worker's are
// those of Forwarders.
std::string CallPeer(const grpc::CallbackServerContext& context, const TrustedPeers& trusted,
                     const TrustedPeers& forwarders);

// The tenant whom the metadata names, whoever sent it; empty: none. To keep tenants of routers
// apart who name each by his requests' ids, not for shares.
std::string TenantOfPeer(const grpc::CallbackServerContext& context);

}  // namespace thinkwire::rpc
