#pragma once

#include <string>
#include <string_view>

namespace thinkwire::rpc {

// By whom shares are counted: the address at the other end of a connection, which gRPC names
// "ipv4:10.0.0.7:51234" or "ipv6:%5B2001:db8::1%5D:51234", brackets escaped or not. An IPv4 address
// (also one mapped into IPv6) counts by itself, an IPv6 address by its first 64 bits, as one host
// has all of the others: "10.0.0.7", "2001:db8::/64". Anything else, such as a Unix socket, by
// gRPC's name of it.
std::string PeerKey(std::string_view grpc_peer);

}  // namespace thinkwire::rpc
