#include "common/dial_address.h"

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/listen_address.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire {
namespace {

bool IsForGrpcAlone(absl::string_view address) {
  return absl::StartsWith(address, "dns:///") || absl::StartsWith(address, "ipv4:") ||
         absl::StartsWith(address, "ipv6:") || absl::StartsWith(address, "unix:");
}

bool HasNoPort(absl::string_view address) {
  const auto colons = std::ranges::count(address, ':');
  return colons == 0 || absl::EndsWith(address, "]");
}

bool IsHost(std::string_view host) {
  return !host.empty() && std::ranges::all_of(host, [](unsigned char c) {
    return absl::ascii_isgraph(c) && c != '/';
  });
}

// "host:port" of `address`; empty: malformed.
std::string Completed(absl::string_view address, int default_port) {
  const bool is_bare_ipv6 = std::ranges::count(address, ':') > 1 && !absl::StartsWith(address, "[");
  std::string whole = is_bare_ipv6 ? absl::StrCat("[", address, "]") : std::string(address);
  if (HasNoPort(whole)) absl::StrAppend(&whole, ":", default_port);
  const std::optional<HostAndPort> parts = ReadListenAddress(whole);
  return parts && IsHost(parts->host) && parts->port != "0" ? whole : "";
}

}  // namespace

absl::StatusOr<std::string> DialAddress(std::string_view option, std::string_view address,
                                        int default_port) {
  if (IsForGrpcAlone(View(address))) return std::string(address);
  std::string whole = Completed(View(address), default_port);
  if (!whole.empty()) return whole;
  const bool is_url = absl::StrContains(View(address), "://");
  return absl::InvalidArgumentError(absl::StrCat(
      "--", View(option), ": '", ShownText(address), "' is ",
      is_url ? "a URL; gRPC wants host:port, without a scheme" : "neither a host nor host:port"));
}

}  // namespace thinkwire
