#include "common/rpc/listener.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/listen_address.h"
#include "common/log.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/peers.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

// How long at most a process that has run out of files waits before it accepts again.
constexpr int kPauseMs = 100;

// How much later than the one before it the next waiting connection of a peer is served: so long
// that this one is closed by then, if it has to be.
constexpr std::chrono::seconds kBetweenWaiting{1};

// What the kernel takes of a connection beyond what its peer has room for.
constexpr int kMaxUnsentBytes = 64 << 10;

// Files that a process needs beside those of its connections: its own, its libraries', channels to
// workers, /metrics.
constexpr int kOtherFiles = 256;

void SetOption(int socket, int level, int name, int value) {
  // An option that a kernel does not know changes speed or tidiness alone.
  (void)setsockopt(socket, level, name, &value, sizeof(value));
}

void SetPort(sockaddr_storage& address, int port) {
  const auto in_order = htons(static_cast<std::uint16_t>(port));
  if (address.ss_family == AF_INET6) {
    reinterpret_cast<sockaddr_in6&>(address).sin6_port = in_order;
  } else {
    reinterpret_cast<sockaddr_in&>(address).sin_port = in_order;
  }
}

int PortOf(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  CHECK(getsockname(socket, reinterpret_cast<sockaddr*>(&address), &size) == 0,
        "a bound socket has a name");
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

// Whether its peer has closed it, whatever may be left to read.
bool HasGone(const FileDescriptor& connection) {
  pollfd end{.fd = connection.get(), .events = POLLRDHUP, .revents = 0};
  return poll(&end, 1, 0) != 0;
}

}  // namespace

std::int64_t MakeRoomForFiles(std::int64_t wanted) {
  rlimit limit{};
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "every process has a limit of files");
  const auto needed = static_cast<rlim_t>(kOtherFiles) + static_cast<rlim_t>(wanted);
  if (limit.rlim_cur < needed) {
    limit.rlim_cur = std::min(limit.rlim_max, needed);
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "every process has a limit of files");
  }
  if (limit.rlim_cur >= needed) return wanted;
  return limit.rlim_cur > kOtherFiles ? static_cast<std::int64_t>(limit.rlim_cur) - kOtherFiles : 0;
}

int MakeRoomForConnections(int wanted) {
  const std::int64_t files = MakeRoomForFiles(kFilesOfWatched * std::int64_t{wanted});
  return static_cast<int>(files / kFilesOfWatched);
}

absl::Status CheckRoomForConnections(int wanted) {
  if (MakeRoomForConnections(wanted) > 0) return absl::OkStatus();
  rlimit limit{};
  CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0, "every process has a limit of files");
  return absl::ResourceExhaustedError(absl::StrCat(
      "ulimit -n allows ", limit.rlim_cur, " open files (at most ", limit.rlim_max, "): ",
      kOtherFiles, " are for the process itself and two for each connection, so that it takes ",
      kOtherFiles + kFilesOfWatched, " at least, and ",
      kOtherFiles + kFilesOfWatched * std::int64_t{wanted}, " for --max_connections ", wanted));
}

absl::StatusOr<std::unique_ptr<Listener>> Listener::Listen(Options options) {
  std::unique_ptr<Listener> listener(new Listener(std::move(options)));
  if (const absl::Status opened = listener->Open(); !opened.ok()) {
    return Annotate(opened, absl::StrCat("cannot listen on \"", listener->options_.address, "\""));
  }
  return listener;
}

Listener::Listener(Options options)
    : options_(std::move(options)),
      events_(epoll_create1(EPOLL_CLOEXEC)),
      stopped_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      connections_(options_.max_connections, options_.trusted_peers, options_.connections,
                   options_.rest) {}

Listener::~Listener() { Stop(); }

absl::Status Listener::Open() {
  if (events_.get() < 0 || stopped_.get() < 0) return absl::UnavailableError(strerror(errno));
  epoll_event stop{.events = EPOLLIN, .data = {.fd = stopped_.get()}};
  CHECK(epoll_ctl(events_.get(), EPOLL_CTL_ADD, stopped_.get(), &stop) == 0, "a fresh epoll");

  const auto parts = ReadListenAddress(options_.address);
  if (!parts) return absl::UnavailableError("it is not host:port");
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(parts->host.empty() ? nullptr : parts->host.c_str(),
                                    parts->port.c_str(), &hints, &found);
      error != 0) {
    return absl::UnavailableError(gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> all(found, &freeaddrinfo);
  absl::Status last = absl::UnavailableError("it has no address");
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    last = OpenOne(*one);
    // "localhost" has an IPv6 address on machines without IPv6 too.
    if (!last.ok() && !absl::IsNotFound(last)) return last;
  }
  if (sockets_.empty()) return absl::UnavailableError(last.message());
  return absl::OkStatus();
}

absl::Status Listener::OpenOne(const addrinfo& address) {
  const auto failed = [] {
    const bool absent = errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT;
    return absent ? absl::NotFoundError("it is not an address of this machine")
                  : absl::UnavailableError(strerror(errno));
  };
  FileDescriptor socket(::socket(address.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return failed();
  // Connections of an earlier process that linger on the port are no obstacle.
  SetOption(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.ai_family == AF_INET6) {
    // "[::]" alone takes IPv4 too, as is usual; a name of several addresses gets a socket for each.
    const bool alone = sockets_.empty() && address.ai_next == nullptr;
    SetOption(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, alone ? 0 : 1);
  }
  sockaddr_storage name{};
  std::memcpy(&name, address.ai_addr, address.ai_addrlen);
  if (port_ != 0) SetPort(name, port_);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), address.ai_addrlen) != 0 ||
      listen(socket.get(), SOMAXCONN) != 0) {
    return failed();
  }
  port_ = PortOf(socket.get());
  epoll_event event{.events = 0, .data = {.fd = socket.get()}};
  CHECK(epoll_ctl(events_.get(), EPOLL_CTL_ADD, socket.get(), &event) == 0, "a fresh socket");
  sockets_.push_back(std::move(socket));
  return absl::OkStatus();
}

void Listener::Start(Serve serve) {
  serve_ = std::move(serve);
  Listening(true);
  thread_ = std::thread([this] { Run(); });
}

void Listener::StartWatching(ServeWatched serve) {
  Start([this, serve = std::move(serve)](Accepted connection) {
    Watch(std::move(connection), serve);
  });
}

void Listener::Stop() {
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  CHECK(write(stopped_.get(), &one, sizeof(one)) == sizeof(one), "an eventfd takes a one");
  thread_.join();
  sockets_.clear();
  waiting_.clear();
  connections_.StopCounting();
}

void Listener::Listening(bool on) {
  for (const FileDescriptor& socket : sockets_) {
    epoll_event event{.events = on ? EPOLLIN : 0U, .data = {.fd = socket.get()}};
    CHECK(epoll_ctl(events_.get(), EPOLL_CTL_MOD, socket.get(), &event) == 0, "it is there");
  }
}

void Listener::Run() {
  std::array<epoll_event, 64> events{};
  for (bool stopped = false; !stopped;) {
    const int count = epoll_wait(events_.get(), events.data(), static_cast<int>(events.size()),
                                 MillisecondsToLook());
    if (std::exchange(paused_, false)) Listening(true);
    AdmitWhoHasWaited();
    for (int i = 0; i < count; ++i) {
      const int fd = events[static_cast<std::size_t>(i)].data.fd;
      if (fd == stopped_.get()) {
        stopped = true;
      } else if (watched_.contains(fd)) {
        Forget(fd);
      } else {
        AcceptAll(fd);
      }
    }
  }
}

void Listener::AcceptAll(int socket) {
  // Not for ever: others may have ended meanwhile.
  for (int i = 0; i < 64 && AcceptOne(socket); ++i) {
  }
}

bool Listener::AcceptOne(int socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  FileDescriptor connection(
      accept4(socket, reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (connection.get() < 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) Pause();
    // One that failed before it was accepted says nothing of the next one.
    return !paused_ && errno != EAGAIN && errno != EWOULDBLOCK;
  }
  Admit(std::move(connection), PeerName(address));
  return !paused_;
}

void Listener::Admit(FileDescriptor connection, const std::string& peer) {
  const Clock::TimePoint rests_until = connections_.RestsUntil(peer);
  if (rests_until > Clock::Real().Now()) return Wait(std::move(connection), peer, rests_until);
  if (!MakePlace(peer)) return Refuse(connection);
  SetOption(connection.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  // What is written waits with its writer, who can be told, and not in the kernel.
  SetOption(connection.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, kMaxUnsentBytes);
  // Data that the peer does not acknowledge for so long ends the connection.
  SetOption(connection.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, kServerKeepaliveTimeoutMs);
  ConnectionTable::Entry entry = connections_.Add(connection.get(), peer);
  serve_({.socket = std::move(connection), .entry = std::move(entry)});
  if (!paused_) told_ = false;
}

void Listener::Wait(FileDescriptor connection, const std::string& peer, Clock::TimePoint until) {
  const std::string key = PeerKey(peer);
  std::size_t of_peer = 0;
  for (const auto& [when, waiting] : waiting_) {
    if (PeerKey(waiting.peer) != key) continue;
    ++of_peer;
    until = std::max(until, when + kBetweenWaiting);
  }
  const bool full = waiting_.size() >= kMaxWaitingConnections || of_peer >= kMaxWaitingOfPeer;
  if (full) return Refuse(connection);
  waiting_.emplace(until, Waiting{.socket = std::move(connection), .peer = peer});
}

void Listener::AdmitWhoHasWaited() {
  while (!waiting_.empty() && waiting_.begin()->first <= Clock::Real().Now()) {
    Waiting one = std::move(waiting_.extract(waiting_.begin()).mapped());
    if (!HasGone(one.socket)) Admit(std::move(one.socket), one.peer);
  }
}

int Listener::MillisecondsToLook() const {
  if (paused_) return kPauseMs;
  if (waiting_.empty()) return -1;
  const Clock::Duration left = waiting_.begin()->first - Clock::Real().Now();
  const auto whole = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::max<std::int64_t>(whole, 0));
}

bool Listener::MakePlace(const std::string& peer) {
  const ConnectionTable::Place place = connections_.MakePlace(peer);
  if (place == ConnectionTable::Place::kMade && options_.displaced != nullptr) {
    options_.displaced->Increment();
  }
  const int half = options_.max_connections / 2;
  if (static_cast<int>(connections_.size()) <= half) told_full_ = false;
  if (place != ConnectionTable::Place::kFree && !std::exchange(told_full_, true)) {
    LogWarning("too many connections: idle ones are ended for new ones, or these are reset",
               {{"max_connections", options_.max_connections}});
  }
  return place != ConnectionTable::Place::kNone;
}

void Listener::Watch(Accepted connection, const ServeWatched& serve) {
  FileDescriptor second(fcntl(connection.socket.get(), F_DUPFD_CLOEXEC, 0));
  if (second.get() < 0) {
    Pause();
    return Refuse(connection.socket);
  }
  const int watched = connection.socket.get();
  epoll_event event{.events = EPOLLRDHUP, .data = {.fd = watched}};
  CHECK(epoll_ctl(events_.get(), EPOLL_CTL_ADD, watched, &event) == 0, "it is new");
  watched_.emplace(watched, std::move(connection));
  serve(std::move(second));
}

void Listener::Refuse(const FileDescriptor& connection) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};  // closing it sends a reset
  (void)setsockopt(connection.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  if (options_.refused != nullptr) options_.refused->Increment();
}

void Listener::Pause() {
  paused_ = true;
  if (!std::exchange(told_, true)) {
    LogWarning("out of files or memory: new connections wait", {{"error", strerror(errno)}});
  }
  Listening(false);
}

void Listener::Forget(int watched) {
  // By hand: an epoll forgets a socket only when its last descriptor is closed, and who serves it
  // has another.
  CHECK(epoll_ctl(events_.get(), EPOLL_CTL_DEL, watched, nullptr) == 0, "it is watched");
  watched_.erase(watched);
}

}  // namespace thinkwire::rpc
