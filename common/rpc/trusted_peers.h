#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/rpc/peers.h"

namespace thinkwire::rpc {

// Peers whom no share limits, but only what there is in all: gateways and routers, behind each of
// which everybody is one address, and routers that a worker must not turn away for others' sake.
// Threads: constant.
class TrustedPeers {
 public:
  // Nobody.
  TrustedPeers() = default;

  // Addresses and prefixes with commas between them: "10.0.0.7,10.1.0.0/16,2001:db8::/32". Empty:
  // nobody. A prefix of IPv6 has no IPv4 addresses in it, not even "::/0".
  // Fails: INVALID_ARGUMENT, one sentence that names the entry: it is no address, or its prefix has
  // no such length, or has bits beyond it, and so may not be what was meant.
  static absl::StatusOr<TrustedPeers> Parse(absl::string_view list);

  // By gRPC's name of the peer.
  bool Contain(std::string_view grpc_peer) const;

  // By whom Shares counts the peer: "" if it is trusted, else its PeerKey.
  std::string ShareKey(std::string_view grpc_peer) const;

 private:
  struct Prefix {
    IpAddress address;
    int length = 0;  // in bits
  };
  static absl::StatusOr<Prefix> ParsePrefix(absl::string_view text);

  std::vector<Prefix> prefixes_;
};

}  // namespace thinkwire::rpc
