#include "router/fleet/resolver.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"

namespace thinkwire::router::fleet {
namespace {

using Found = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

std::string Printed(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(family, address, text.data(), text.size());
}

std::vector<std::string> AddressesOf(const addrinfo* found) {
  std::set<std::string> v4;
  std::set<std::string> v6;
  for (; found != nullptr; found = found->ai_next) {
    if (found->ai_family == AF_INET) {
      v4.insert(Printed(AF_INET, &reinterpret_cast<const sockaddr_in*>(found->ai_addr)->sin_addr));
    } else if (found->ai_family == AF_INET6) {
      const auto* const address = reinterpret_cast<const sockaddr_in6*>(found->ai_addr);
      v6.insert(absl::StrCat("[", Printed(AF_INET6, &address->sin6_addr), "]"));
    }
  }
  const std::set<std::string>& taken = v4.empty() ? v6 : v4;
  return {taken.begin(), taken.end()};
}

class MachineResolver final : public Resolver {
 public:
  absl::StatusOr<std::vector<std::string>> Resolve(const std::string& host) override {
    addrinfo hints{};
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;  // each address once
    addrinfo* list = nullptr;
    const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list);
    if (error != 0) return absl::UnavailableError(gai_strerror(error));
    const Found found(list, &freeaddrinfo);
    std::vector<std::string> addresses = AddressesOf(found.get());
    if (addresses.empty()) return absl::UnavailableError("the name has no address");
    return addresses;
  }
};

}  // namespace

Resolver& Resolver::OfMachine() {
  static MachineResolver resolver;
  return resolver;
}

}  // namespace thinkwire::router::fleet
