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
// They are known by address: a connection has its place before its certificate is seen.
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

  // This machine.
  static TrustedPeers Loopback();

  bool empty() const { return prefixes_.empty(); }

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

// Who may say whose call it passes on (CallPeer), to a worker that listens at `listen`,
// "host:port". The rule:
// 1. Trusted peers may, always.
// 2. Where no peer is named as trusted and the worker listens on loopback alone, this machine may:
//    router and worker run on it together, everybody else is out of reach, and who has come so far
//    as to run on it is believed. Each name then has a share of its own, and who gives none that of
//    this machine.
// 3. Nobody else may: what a worker is told by who reaches it from elsewhere, or by its own machine
//    while others reach it too, is no reason to give him another's share, or many. A router there
//    has one peer's share for all of its clients, unless it is named.
TrustedPeers Forwarders(const TrustedPeers& trusted, const std::string& listen);

}  // namespace thinkwire::rpc
