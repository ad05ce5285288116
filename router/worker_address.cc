#include "router/worker_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace thinkwire::router {
namespace {

struct Parts {
  absl::string_view host;  // without brackets
  bool bracketed = false;
  int port = 0;
};

bool IsNoWord(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return absl::ascii_iscntrl(byte) || absl::ascii_isspace(byte) || c == '/';
}

std::optional<int> ReadPort(absl::string_view text) {
  int port = 0;
  if (!std::ranges::all_of(text, absl::ascii_isdigit) || !absl::SimpleAtoi(text, &port)) {
    return std::nullopt;
  }
  return port > 0 && port < 65536 ? std::optional(port) : std::nullopt;
}

std::optional<Parts> Split(absl::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == address.npos || std::ranges::any_of(address, IsNoWord)) return std::nullopt;
  const std::optional<int> port = ReadPort(address.substr(colon + 1));
  if (!port) return std::nullopt;
  Parts parts{.host = address.substr(0, colon), .port = *port};
  parts.bracketed = absl::ConsumePrefix(&parts.host, "[") && absl::ConsumeSuffix(&parts.host, "]");
  if (parts.host.empty() || parts.host.find_first_of("[]") != parts.host.npos) return std::nullopt;
  // Which of an IPv6 address's colons begins the port cannot be told without brackets.
  const bool has_colon = parts.host.find(':') != parts.host.npos;
  return has_colon == parts.bracketed ? std::optional(parts) : std::nullopt;
}

std::string Printed(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(family, address, text.data(), text.size());
}

constexpr char kThisHost[] = "localhost";

// Connecting to "any address" reaches this host.
std::string HostOf(const in_addr& address) {
  const bool is_this_host =
      address.s_addr == htonl(INADDR_LOOPBACK) || address.s_addr == htonl(INADDR_ANY);
  return is_this_host ? kThisHost : Printed(AF_INET, &address);
}

std::string HostOf(const in6_addr& address) {
  if (IN6_IS_ADDR_LOOPBACK(&address) || IN6_IS_ADDR_UNSPECIFIED(&address)) return kThisHost;
  if (!IN6_IS_ADDR_V4MAPPED(&address)) return absl::StrCat("[", Printed(AF_INET6, &address), "]");
  in_addr mapped{};
  std::copy_n(&address.s6_addr[12], sizeof mapped, reinterpret_cast<unsigned char*>(&mapped));
  return HostOf(mapped);
}

std::string LowerHost(const Parts& parts) {
  return absl::AsciiStrToLower(absl::StripSuffix(parts.host, "."));
}

std::string HostOf(const Parts& parts) {
  std::string host = LowerHost(parts);
  in_addr v4{};
  in6_addr v6{};
  // Unlike inet_pton it reads "127.1" and other old spellings, as name lookups do.
  if (!parts.bracketed && inet_aton(host.c_str(), &v4) == 1) return HostOf(v4);
  if (inet_pton(AF_INET6, host.c_str(), &v6) == 1) return HostOf(v6);
  // RFC 6761, section 6.3; the second name is Debian's.
  if (absl::EndsWith(host, ".localhost") || host == "ip6-localhost") return kThisHost;
  return host;
}

}  // namespace

bool IsWorkerAddress(const std::string& address) { return Split(address).has_value(); }

std::string CanonicalAddress(const std::string& address) {
  const std::optional<Parts> parts = Split(address);
  return parts ? absl::StrCat(HostOf(*parts), ":", parts->port) : address;
}

std::optional<NamedAddress> ReadNamedAddress(const std::string& address) {
  const std::optional<Parts> parts = Split(address);
  if (!parts || parts->bracketed) return std::nullopt;
  const std::string host = LowerHost(*parts);
  in_addr number{};
  const bool is_name = inet_aton(host.c_str(), &number) == 0 && HostOf(*parts) != kThisHost;
  return is_name ? std::optional(NamedAddress{host, parts->port}) : std::nullopt;
}

}  // namespace thinkwire::router
