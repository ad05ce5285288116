#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/rpc/channel.h"

namespace thinkwire::router::client {

// Whose health is asked for.
struct ProbeTarget {
  std::string address;  // as DialAddress gives it
  std::string name;     // of grpc.health.v1; empty: the process as a whole
};

// Reads "HOST[:PORT][/NAME]". Fails: INVALID_ARGUMENT, one sentence.
absl::StatusOr<ProbeTarget> ReadProbeTarget(const std::string& text, int default_port);

// Whether it says SERVING, within `patience`. Blocks.
// Fails: UNAVAILABLE it says something else; or the call's own error.
absl::Status Probe(const ProbeTarget& target, const rpc::ChannelSecurity& security,
                   Clock::Duration patience);

}  // namespace thinkwire::router::client
