#pragma once

#include <optional>
#include <string>

namespace thinkwire::router {

// A name and a port, of which the name has to be looked up.
struct NamedAddress {
  std::string host{};  // lower case, without a last dot
  int port = 0;
};

// Whether `address` is "host:port": a name, an IPv4 address or an IPv6 address in brackets, and a
// port from 1 to 65535.
bool IsWorkerAddress(const std::string& address);

// One spelling of all that mean one address, so that nobody's worker is taken for two:
// "LOCALHOST:1", "127.0.0.1:01", "[0:0::1]:1" and "[::ffff:127.0.0.1]:1" are "localhost:1". This
// host's names and addresses for itself are one, letter case, a name's last dot, and how numbers
// are written do not matter. No name is looked up: two names of one other host are two workers.
// REQUIRES: IsWorkerAddress(address).
std::string CanonicalAddress(const std::string& address);

// Where `address` is a name that may mean several hosts: nullopt for one in numbers, and for this
// host's own names. REQUIRES: IsWorkerAddress(address).
std::optional<NamedAddress> ReadNamedAddress(const std::string& address);

}  // namespace thinkwire::router
