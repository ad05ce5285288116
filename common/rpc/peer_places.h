#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "common/rpc/shares.h"
#include "common/rpc/trusted_peers.h"

namespace thinkwire::rpc {

// Places of one kind for calls, or for those that stay, such as watches. Peers share them; trusted
// peers have as many of their own, so that nobody else's watches keep a router from watching.
// Threads: any.
class PeerPlaces {
 public:
  // `places` >= 1 for either.
  PeerPlaces(std::int64_t places, TrustedPeers trusted);

  // One place for a peer, by gRPC's name of it. nullopt: none is left, or for a peer that is not
  // trusted not in its share.
  std::optional<Shares::Held> Take(std::string_view grpc_peer);

 private:
  const TrustedPeers trusted_;
  Shares of_trusted_;
  Shares of_others_;
};

}  // namespace thinkwire::rpc
