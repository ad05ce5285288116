#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

struct sockaddr_storage;

namespace thinkwire::rpc {

// gRPC names the other end of a connection "ipv4:10.0.0.7:51234" or "ipv6:%5B2001:db8::1%5D:51234".
// The functions below take that with its brackets escaped or not.

// In network order, IPv4 in the first 4 bytes.
struct IpAddress {
  std::array<std::uint8_t, 16> bytes{};
  int bits = 0;  // 32: IPv4; 128: IPv6
};

// "10.0.0.7" or "2001:db8::1"; an IPv4 address that is mapped into IPv6 is one of IPv4. nullopt: it
// is neither.
std::optional<IpAddress> ReadIpAddress(const std::string& text);

// The address in gRPC's name of a peer. nullopt: the name is of another kind, such as a Unix
// socket's.
std::optional<IpAddress> AddressOfPeer(std::string_view grpc_peer);

// By whom shares are counted: an IPv4 address counts by itself, an IPv6 address by its first 64
// bits, as one host has all of the others: "10.0.0.7", "2001:db8::/64". Anything else by gRPC's
// name of it.
std::string PeerKey(std::string_view grpc_peer);

// Whether the peer is on this machine.
bool IsLoopbackPeer(std::string_view grpc_peer);

// gRPC's name of the peer at `address`, unescaped. REQUIRES: an IPv4 or IPv6 address.
std::string PeerName(const sockaddr_storage& address);

// gRPC's name in the spelling of PeerName.
std::string Unescaped(std::string_view grpc_peer);

}  // namespace thinkwire::rpc
