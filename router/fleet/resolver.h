#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace thinkwire::router::fleet {

// Looks up which addresses a name has. Threads: any.
class Resolver {
 public:
  virtual ~Resolver() = default;

  // All addresses of `host`, ascending, each once, as they go before a port: "10.0.0.1" or
  // "[fd00::1]". Those of IPv4 if there are any, else those of IPv6: a host with both is one
  // worker. Blocks for as long as the machine's resolver tries (resolv.conf: timeout and attempts).
  // Fails: UNAVAILABLE, and why, also where there is no such name or it has no address.
  virtual absl::StatusOr<std::vector<std::string>> Resolve(const std::string& host) = 0;

  // getaddrinfo's: /etc/hosts, DNS and whatever else the machine is told to ask. How long an answer
  // holds, it does not say. Lives as long as the process.
  static Resolver& OfMachine();
};

}  // namespace thinkwire::router::fleet
