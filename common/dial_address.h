#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace thinkwire {

// Where a client connects, for gRPC: "host:port" of what a person gave as the value of `option`.
// "host" alone gets `default_port`, "::1" its brackets too; gRPC's own "dns:///…", "ipv4:…",
// "ipv6:…" and "unix:…" stay as they are. Looks no name up.
// Fails: INVALID_ARGUMENT, one sentence that names the option, for a URL and what is malformed.
absl::StatusOr<std::string> DialAddress(std::string_view option, std::string_view address,
                                        int default_port);

}  // namespace thinkwire
