#include "common/rpc/metrics_server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "common/check.h"
#include "common/metrics.h"
#include "common/rpc/page_cache.h"
#include "common/rpc/peers.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

// Never short: the newcomer is one more until another has ended for it, and a part of the
// listener's places is for this machine alone.
constexpr int kListenerConnections = 2 * MetricsServer::kMaxConnections;

constexpr std::uint64_t kWakeId = 0;  // of no connection

std::uint32_t EventsFor(HttpConnection::Wants wants) {
  return wants == HttpConnection::Wants::kOutput ? EPOLLOUT : EPOLLIN;
}

std::string KeyOfPeer(const FileDescriptor& socket) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  // A connection that has ended already has no peer; it counts with the others of its kind.
  if (getpeername(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  return PeerKey(PeerName(address));
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(Options options) {
  ASSIGN_OR_RETURN(
      std::unique_ptr<Listener> listener,
      Listener::Listen({.address = options.listen, .max_connections = kListenerConnections}));
  std::unique_ptr<MetricsServer> server(new MetricsServer(std::move(options), std::move(listener)));
  if (server->events_.get() < 0 || server->wake_.get() < 0) {
    return absl::UnavailableError(strerror(errno));
  }
  epoll_event wake{.events = EPOLLIN, .data = {.u64 = kWakeId}};
  CHECK(epoll_ctl(server->events_.get(), EPOLL_CTL_ADD, server->wake_.get(), &wake) == 0,
        "a fresh epoll");
  server->thread_ = std::thread([server = server.get()] { server->Run(); });
  server->listener_->Start(
      [server = server.get()](Listener::Accepted accepted) { server->Take(std::move(accepted)); });
  return server;
}

MetricsServer::MetricsServer(Options options, std::unique_ptr<Listener> listener)
    : options_(std::move(options)),
      page_([cache = std::make_shared<PageCache>(options_.page)] { return cache->Get(); }),
      events_(epoll_create1(EPOLL_CLOEXEC)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      listener_(std::move(listener)) {}

MetricsServer::~MetricsServer() {
  listener_->Stop();
  if (!thread_.joinable()) return;
  stopping_ = true;
  Wake();
  thread_.join();
}

void MetricsServer::Wake() {
  const std::uint64_t one = 1;
  CHECK(write(wake_.get(), &one, sizeof(one)) == sizeof(one), "an eventfd takes a one");
}

void MetricsServer::Take(Listener::Accepted accepted) {
  const std::string peer = KeyOfPeer(accepted.socket);
  MutexLock lock(mu_);
  if (connections_.size() >= kMaxConnections) MakePlaceFor(peer);
  const std::uint64_t id = next_id_++;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = id}};
  CHECK(epoll_ctl(events_.get(), EPOLL_CTL_ADD, accepted.socket.get(), &event) == 0, "it is new");
  connections_.emplace(id, Connection{.http = HttpConnection(std::move(accepted.socket)),
                                      .entry = std::move(accepted.entry),
                                      .peer = peer,
                                      .give_up = Clock::Real().Now() + options_.patience});
  by_peer_[peer].insert(id);
  if (connections_.size() == 1) Wake();  // the thread waits without end
}

void MetricsServer::MakePlaceFor(const std::string& peer) {
  const auto rank = [&](const auto& entry) {
    const auto& [key, ids] = entry;
    return std::pair(ids.size() + (key == peer ? 1 : 0), ~*ids.begin());  // of equals the oldest
  };
  const auto most = std::ranges::max_element(by_peer_, {}, rank);
  const auto oldest = connections_.find(*most->second.begin());
  GoOn(oldest->second.http);
  End(oldest);
}

void MetricsServer::Run() {
  std::array<epoll_event, kMaxConnections + 1> ready{};
  while (!stopping_) {
    const int count =
        epoll_wait(events_.get(), ready.data(), static_cast<int>(ready.size()), TimeLeftMs());
    for (int i = 0; i < count; ++i) {
      const std::uint64_t id = ready[static_cast<std::size_t>(i)].data.u64;
      if (id == kWakeId) {
        std::uint64_t wakes = 0;
        (void)!read(wake_.get(), &wakes, sizeof(wakes));
      } else {
        Serve(id);
      }
    }
    EndOverdue();
  }
}

void MetricsServer::Serve(std::uint64_t id) {
  MutexLock lock(mu_);
  const auto found = connections_.find(id);
  if (found != connections_.end()) Want(found, GoOn(found->second.http));
}

HttpConnection::Wants MetricsServer::GoOn(HttpConnection& http) {
  const HttpConnection::Wants wants = http.GoOn();
  if (wants != HttpConnection::Wants::kAnswer) return wants;
  return http.Answer(AnswerHttp(http.TakeHeader(), page_));
}

int MetricsServer::TimeLeftMs() {
  MutexLock lock(mu_);
  if (connections_.empty()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      connections_.begin()->second.give_up - Clock::Real().Now());
  return static_cast<int>(std::max<std::chrono::milliseconds::rep>(left.count(), 0));
}

void MetricsServer::EndOverdue() {
  MutexLock lock(mu_);
  const Clock::TimePoint now = Clock::Real().Now();
  while (!connections_.empty() && connections_.begin()->second.give_up <= now) {
    End(connections_.begin());
  }
}

void MetricsServer::Want(Connections::iterator connection, HttpConnection::Wants wants) {
  if (wants == HttpConnection::Wants::kEnd) return End(connection);
  epoll_event event{.events = EventsFor(wants), .data = {.u64 = connection->first}};
  CHECK(epoll_ctl(events_.get(), EPOLL_CTL_MOD, connection->second.http.fd(), &event) == 0,
        "it is there");
}

void MetricsServer::End(Connections::iterator connection) {
  const auto of_peer = by_peer_.find(connection->second.peer);
  of_peer->second.erase(connection->first);
  if (of_peer->second.empty()) by_peer_.erase(of_peer);
  connections_.erase(connection);
}

absl::StatusOr<std::unique_ptr<MetricsServer>> ShowMetrics(const Metrics& metrics,
                                                           const std::string& listen) {
  if (listen.empty()) return nullptr;
  return MetricsServer::Start({.listen = listen, .page = [&metrics] { return metrics.Page(); }});
}

}  // namespace thinkwire::rpc
