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

// Whether "host:port" can be reached from this machine alone: "localhost", ::1, and 127.0.0.0/8 in
// any way of writing. Other names may mean anything, and are not looked up.
bool IsLoopback(const std::string& address);

// Whether a server may listen at `listen`, "host:port". `anywhere`: it has TLS, or
// --insecure_listen, the operator's word that who reaches it is trusted; without, this machine
// alone may reach it. Fails: INVALID_ARGUMENT, one sentence that says what to do; as
// CheckListenAddress.
absl::Status CheckListen(const std::string& listen, bool anywhere);
// The same of another option's address.
absl::Status CheckListen(std::string_view option, const std::string& listen, bool anywhere);

}  // namespace thinkwire
