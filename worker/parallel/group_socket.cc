#include "worker/parallel/group_socket.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/listen_address.h"
#include "common/status.h"

namespace thinkwire::worker::parallel {
namespace {

constexpr int kBacklog = 64;

void Set(int socket, int level, int option, int value) {
  setsockopt(socket, level, option, &value, sizeof(value));
}

// Together 5 s: of silence, or of what was sent and is not acknowledged.
void WatchPeer(int socket) {
  Set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  Set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 2);
  Set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  Set(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  Set(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000);
}

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

absl::StatusOr<Addresses> LookUp(const std::string& address, int flags) {
  RETURN_IF_ERROR(CheckListenAddress("leader", address));
  const HostAndPort parts = *ReadListenAddress(address);
  addrinfo hints = {};
  hints.ai_flags = flags | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const char* const host = parts.host.empty() ? nullptr : parts.host.c_str();
  const int error = getaddrinfo(host, parts.port.c_str(), &hints, &found);
  if (error == 0) return Addresses(found, freeaddrinfo);
  return absl::UnavailableError(absl::StrCat(address, ": ", gai_strerror(error)));
}

// The first socket that `works` takes; what failed last otherwise.
absl::StatusOr<int> FirstThat(const std::string& address, int flags,
                              const std::function<bool(int, const addrinfo&)>& works) {
  ASSIGN_OR_RETURN(const Addresses addresses, LookUp(address, flags));
  int error = EADDRNOTAVAIL;
  for (const addrinfo* at = addresses.get(); at != nullptr; at = at->ai_next) {
    const int made = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC, at->ai_protocol);
    if (made >= 0 && works(made, *at)) return made;
    error = errno;
    if (made >= 0) close(made);
  }
  return absl::UnavailableError(absl::StrCat(address, ": ", std::strerror(error)));
}

bool Listens(int socket, const addrinfo& at) {
  Set(socket, SOL_SOCKET, SO_REUSEADDR, 1);
  fcntl(socket, F_SETFL, O_NONBLOCK);  // who has gone before he is accepted is not waited for
  return bind(socket, at.ai_addr, at.ai_addrlen) == 0 && listen(socket, kBacklog) == 0;
}

bool Connects(int socket, const addrinfo& at, std::chrono::milliseconds patience) {
  // What connect waits for too.
  const timeval wait = {.tv_sec = patience.count() / 1000,
                        .tv_usec = patience.count() % 1000 * 1000};
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
  return connect(socket, at.ai_addr, at.ai_addrlen) == 0;
}

int PortOf(int socket) {
  sockaddr_storage address = {};
  socklen_t size = sizeof(address);
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  const void* const bytes = &address;
  return ntohs(address.ss_family == AF_INET6 ? static_cast<const sockaddr_in6*>(bytes)->sin6_port
                                             : static_cast<const sockaddr_in*>(bytes)->sin_port);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GroupListener>> GroupListener::Open(const std::string& address) {
  ASSIGN_OR_RETURN(const int socket, FirstThat(address, AI_PASSIVE, Listens));
  return std::unique_ptr<GroupListener>(new GroupListener(socket, PortOf(socket)));
}

GroupListener::~GroupListener() { close(socket_); }

std::optional<int> GroupListener::Accept(std::chrono::milliseconds patience) {
  pollfd wait = {.fd = socket_, .events = POLLIN, .revents = 0};
  if (poll(&wait, 1, static_cast<int>(patience.count())) <= 0) return std::nullopt;
  const int accepted = accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
  if (accepted < 0) return std::nullopt;  // it has gone again
  WatchPeer(accepted);
  return accepted;
}

absl::StatusOr<int> DialGroup(const std::string& address, std::chrono::milliseconds patience) {
  ASSIGN_OR_RETURN(const int socket,
                   FirstThat(address, 0, [patience](int made, const addrinfo& at) {
                     return Connects(made, at, patience);
                   }));
  WatchPeer(socket);
  return socket;
}

}  // namespace thinkwire::worker::parallel
