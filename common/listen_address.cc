#include "common/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

bool IsLoopbackIpv4(const in_addr& address) {
  return ntohl(address.s_addr) >> IN_CLASSA_NSHIFT == IN_LOOPBACKNET;
}

bool IsLoopbackIpv6(const in6_addr& address) {
  if (IN6_IS_ADDR_LOOPBACK(&address)) return true;
  in_addr mapped{};
  std::memcpy(&mapped, &address.s6_addr[12], sizeof(mapped));
  return IN6_IS_ADDR_V4MAPPED(&address) && IsLoopbackIpv4(mapped);
}

}  // namespace

std::optional<HostAndPort> ReadListenAddress(std::string_view address) {
  const std::size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  absl::string_view host = View(address.substr(0, colon));
  if (absl::ConsumePrefix(&host, "[")) {
    if (!absl::ConsumeSuffix(&host, "]")) return std::nullopt;
  } else if (absl::StrContains(host, ':')) {
    return std::nullopt;  // a bare IPv6 address
  }
  const std::string_view port = address.substr(colon + 1);
  int number = 0;  // what is longer would be cut by getaddrinfo
  if (!absl::SimpleAtoi(View(port), &number) || number < 0 || number > 65535) return std::nullopt;
  return HostAndPort{std::string(host), std::string(port)};
}

absl::Status CheckListenAddress(std::string_view option, std::string_view address) {
  if (ReadListenAddress(address)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--", View(option), ": '", ShownText(address), "' is not host:port"));
}

bool IsLoopback(const std::string& address) {
  const std::string host = address.substr(0, address.rfind(':'));
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  // "127.1" too, as getaddrinfo reads it.
  if (in_addr ipv4{}; inet_aton(host.c_str(), &ipv4) != 0) return IsLoopbackIpv4(ipv4);
  if (host.size() < 2 || host.front() != '[' || host.back() != ']') return false;
  in6_addr ipv6{};
  return inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &ipv6) == 1 &&
         IsLoopbackIpv6(ipv6);
}

absl::Status CheckListen(const std::string& listen, bool anywhere) {
  return CheckListen("listen", listen, anywhere);
}

absl::Status CheckListen(std::string_view option, const std::string& listen, bool anywhere) {
  RETURN_IF_ERROR(CheckListenAddress(option, listen));
  if (anywhere || IsLoopback(listen)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--", View(option), " ", listen,
      ": other machines reach it, and nothing there is encrypted; give it --tls_cert and "
      "--tls_key, "
      "listen on 127.0.0.1, or allow it in a network that you trust by --insecure_listen"));
}

}  // namespace thinkwire
