#include "common/listen_address.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/shown_text.h"
#include "common/strings.h"

namespace thinkwire {

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

}  // namespace thinkwire
