#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace thinkwire {

struct HostAndPort {
  std::string host;  // without brackets; empty: every address of this machine
  std::string port;  // 0 to 65535; 0: any free one
};

// Reads "host:port", "1.2.3.4:port", "[::1]:port" or ":port". Looks no name up. nullopt: malformed.
std::optional<HostAndPort> ReadListenAddress(std::string_view address);

// Fails: INVALID_ARGUMENT, naming the option, where ReadListenAddress gives nothing.
absl::Status CheckListenAddress(std::string_view option, std::string_view address);

}  // namespace thinkwire
