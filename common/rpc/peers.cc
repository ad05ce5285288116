#include "common/rpc/peers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace thinkwire::rpc {
namespace {

constexpr int kIpv4Bits = 32;
constexpr int kIpv6Bits = 128;
constexpr std::size_t kNetworkBytes = 8;  // of an IPv6 address

std::string Printed(const IpAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = address.bits == kIpv4Bits ? AF_INET : AF_INET6;
  return inet_ntop(family, address.bytes.data(), text.data(), text.size());
}

IpAddress Ipv4(const void* bytes) {
  IpAddress address{.bytes = {}, .bits = kIpv4Bits};
  std::memcpy(address.bytes.data(), bytes, sizeof(in_addr));
  return address;
}

IpAddress FromIpv6(const in6_addr& bytes) {
  if (IN6_IS_ADDR_V4MAPPED(&bytes)) return Ipv4(&bytes.s6_addr[12]);
  IpAddress address{.bytes = {}, .bits = kIpv6Bits};
  std::memcpy(address.bytes.data(), &bytes, sizeof(bytes));
  return address;
}

// "[fe80::1%2]", as gRPC writes the address of a link-local network.
std::string Host(const IpAddress& address, std::uint32_t scope) {
  if (address.bits == kIpv4Bits) return absl::StrCat("ipv4:", Printed(address));
  const std::string suffix = scope == 0 ? "" : absl::StrCat("%", scope);
  return absl::StrCat("ipv6:[", Printed(address), suffix, "]");
}

}  // namespace

std::optional<IpAddress> ReadIpAddress(const std::string& text) {
  in_addr narrow{};
  if (inet_pton(AF_INET, text.c_str(), &narrow) == 1) return Ipv4(&narrow);
  in6_addr wide{};
  if (inet_pton(AF_INET6, text.c_str(), &wide) == 1) return FromIpv6(wide);
  return std::nullopt;
}

std::optional<IpAddress> AddressOfPeer(std::string_view grpc_peer) {
  const std::string name = Unescaped(grpc_peer);
  absl::string_view host(name);
  if (!absl::ConsumePrefix(&host, "ipv4:") && !absl::ConsumePrefix(&host, "ipv6:")) {
    return std::nullopt;
  }
  host = host.substr(0, host.rfind(':'));  // without the port
  absl::ConsumePrefix(&host, "[");
  absl::ConsumeSuffix(&host, "]");
  return ReadIpAddress(std::string(host.substr(0, host.find('%'))));
}

std::string PeerKey(std::string_view grpc_peer) {
  std::optional<IpAddress> address = AddressOfPeer(grpc_peer);
  if (!address) return std::string(grpc_peer);
  if (address->bits == kIpv4Bits) return Printed(*address);
  std::fill(address->bytes.begin() + kNetworkBytes, address->bytes.end(), std::uint8_t{0});
  return absl::StrCat(Printed(*address), "/64");
}

bool IsLoopbackPeer(std::string_view grpc_peer) {
  const std::optional<IpAddress> address = AddressOfPeer(grpc_peer);
  if (!address) return false;
  if (address->bits == kIpv4Bits) return address->bytes[0] == IN_LOOPBACKNET;
  return std::memcmp(address->bytes.data(), &in6addr_loopback, sizeof(in6addr_loopback)) == 0;
}

std::string PeerName(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    const auto& narrow = reinterpret_cast<const sockaddr_in&>(address);
    return absl::StrCat(Host(Ipv4(&narrow.sin_addr), 0), ":", ntohs(narrow.sin_port));
  }
  const auto& wide = reinterpret_cast<const sockaddr_in6&>(address);
  const std::string host = Host(FromIpv6(wide.sin6_addr), wide.sin6_scope_id);
  return absl::StrCat(host, ":", ntohs(wide.sin6_port));
}

std::string Unescaped(std::string_view grpc_peer) {
  return absl::StrReplaceAll({grpc_peer.data(), grpc_peer.size()},
                             {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}});
}

}  // namespace thinkwire::rpc
