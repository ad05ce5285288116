#pragma once

#include <cstddef>
#include <string>

namespace grpc {
class CallbackServerContext;
}  // namespace grpc

namespace thinkwire::rpc {

class TrustedPeers;

// Metadata in which a router names to a worker whose call it passes on, as a gateway may to a
// router.
inline constexpr char kPeerMetadata[] = "thinkwire-peer";
inline constexpr std::size_t kMaxPeerBytes = 64;  // of a name; a longer one is not believed

// Who else than trusted peers may name whose call it passes on.
enum class Believe { kTrustedPeers, kThisMachineToo };

// By whom Shares counts a call: the name in its metadata, if it comes from who is believed, else
// TrustedPeers::ShareKey of who sent it.
std::string CallPeer(const grpc::CallbackServerContext& context, const TrustedPeers& trusted,
                     Believe believe);

}  // namespace thinkwire::rpc
