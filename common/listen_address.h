#pragma once

#include <string>

#include "absl/status/status.h"

namespace thinkwire {

// Whether "host:port" can be reached from this machine alone: "localhost", ::1, and 127.0.0.0/8 in
// any way of writing. Other names may mean anything, and are not looked up.
bool IsLoopback(const std::string& address);

// Whether a server without TLS may listen at `listen`, "host:port". `insecure_listen` is the option
// of that name: the operator's word that who reaches it is trusted.
// Fails: INVALID_ARGUMENT, one sentence that says what to do.
absl::Status CheckListen(const std::string& listen, bool insecure_listen);

}  // namespace thinkwire
