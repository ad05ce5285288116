#include "common/rpc/peer_places.h"

#include <string>
#include <utility>

namespace thinkwire::rpc {

PeerPlaces::PeerPlaces(std::int64_t places, TrustedPeers trusted)
    : trusted_(std::move(trusted)), of_trusted_(places), of_others_(places) {}

std::optional<Shares::Held> PeerPlaces::Take(std::string_view grpc_peer) {
  const std::string key = trusted_.ShareKey(grpc_peer);
  return (key.empty() ? of_trusted_ : of_others_).Take(key, 1);
}

}  // namespace thinkwire::rpc
