#include "common/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

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

absl::Status CheckListen(const std::string& listen, bool insecure_listen) {
  if (listen.empty()) return absl::InvalidArgumentError("--listen is empty: it needs host:port");
  if (insecure_listen || IsLoopback(listen)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--listen ", listen,
      ": other machines reach it, and nothing there is encrypted or asks who they are; listen on "
      "127.0.0.1, or allow it in a network that you trust by --insecure_listen"));
}

}  // namespace thinkwire
