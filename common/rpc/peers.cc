#include "common/rpc/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kNetworkBytes = 8;  // of an IPv6 address

std::string Unescaped(absl::string_view address) {
  return absl::StrReplaceAll(address, {{"%5B", "["}, {"%5D", "]"}});
}

// "[::1]:50" or "1.2.3.4:50" without port and brackets.
std::string HostOf(absl::string_view address) {
  const std::size_t colon = address.rfind(':');
  absl::string_view host = address.substr(0, colon);
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  return std::string(host.substr(0, host.find('%')));  // without the scope of a link-local one
}

std::string Printed(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(family, address, text.data(), text.size());
}

}  // namespace

std::string PeerKey(std::string_view grpc_peer) {
  absl::string_view address(grpc_peer.data(), grpc_peer.size());
  if (absl::ConsumePrefix(&address, "ipv4:")) return HostOf(address);
  if (!absl::ConsumePrefix(&address, "ipv6:")) return std::string(grpc_peer);
  const std::string host = HostOf(Unescaped(address));
  in6_addr bits{};
  if (inet_pton(AF_INET6, host.c_str(), &bits) != 1) return std::string(grpc_peer);
  if (IN6_IS_ADDR_V4MAPPED(&bits)) return Printed(AF_INET, &bits.s6_addr[12]);
  std::fill(std::begin(bits.s6_addr) + kNetworkBytes, std::end(bits.s6_addr), std::uint8_t{0});
  return absl::StrCat(Printed(AF_INET6, &bits), "/64");
}

}  // namespace thinkwire::rpc
