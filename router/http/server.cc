#include "router/http/server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <boost/asio/strand.hpp>
#include <chrono>
#include <utility>

#include "common/check.h"
#include "common/rpc/peers.h"
#include "common/status.h"
#include "router/http/http_limits.h"
#include "router/http/tls_contexts.h"

namespace thinkwire::router::http {
namespace {

namespace asio = boost::asio;

// A second one, so that one large body that is being read holds up half of the streams at most.
constexpr int kThreads = 2;

// The listener gives the kernel gRPC's patience, whose clients take what arrives at once and say by
// HTTP/2 how much more they want. Clients of HTTP/1.1 that read slowly let their socket be full.
void SetPatience(const rpc::FileDescriptor& connection) {
  const int milliseconds = static_cast<int>(
      std::chrono::duration_cast<std::chrono::milliseconds>(kWriteTimeout).count());
  (void)setsockopt(connection.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds,
                   sizeof(milliseconds));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Listen(Options options) {
  ASSIGN_OR_RETURN(auto listener, rpc::Listener::Listen({.address = options.listen,
                                                         .max_connections = options.max_connections,
                                                         .trusted_peers = options.trusted,
                                                         .connections = options.connections,
                                                         .refused = options.refused,
                                                         .displaced = options.displaced}));
  return std::unique_ptr<Server>(new Server(std::move(options), std::move(listener)));
}

Server::Server(Options options, std::unique_ptr<rpc::Listener> listener)
    : options_(std::move(options)),
      arriving_(static_cast<std::int64_t>(kMaxArrivingBodyBytes)),
      io_(kThreads),
      work_(asio::make_work_guard(io_)),
      listener_(std::move(listener)) {}

Server::~Server() {
  Stop();
  work_.reset();
  for (std::thread& thread : threads_) thread.join();
}

void Server::Start(Application& application) {
  application_ = &application;
  for (int i = 0; i < kThreads; ++i) threads_.emplace_back([this] { io_.run(); });
  listener_->Start([this](rpc::Listener::Accepted accepted) { Accept(std::move(accepted)); });
}

void Server::Accept(rpc::Listener::Accepted accepted) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getpeername(accepted.socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  SetPatience(accepted.socket);
  Socket socket(asio::make_strand(io_));
  boost::system::error_code error;
  socket.assign(address.ss_family == AF_INET6 ? asio::ip::tcp::v6() : asio::ip::tcp::v4(),
                accepted.socket.get(), error);
  if (error) return;
  (void)accepted.socket.Release();
  auto transport = options_.tls == nullptr ? PlainTransport(std::move(socket))
                                           : TlsTransport(std::move(socket), options_.tls->Get());
  std::shared_ptr<Connection> connection;
  {
    MutexLock lock(mu_);
    const std::uint64_t id = next_id_++;
    connection = std::make_shared<Connection>(std::move(transport), std::move(accepted.entry),
                                              rpc::PeerName(address), static_cast<Site&>(*this),
                                              [this, id] { Forget(id); });
    connections_.emplace(id, connection);
  }
  connection->Start();
}

void Server::Forget(std::uint64_t id) {
  MutexLock lock(mu_);
  connections_.erase(id);
  changed_.NotifyAll();
}

std::vector<std::shared_ptr<Connection>> Server::connections() const {
  MutexLock lock(mu_);
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [id, connection] : connections_) {
    if (auto held = connection.lock()) all.push_back(std::move(held));
  }
  return all;
}

void Server::BeginDrain() {
  if (draining_.exchange(true)) return;
  listener_->Stop();
  for (const auto& connection : connections()) connection->Stop(/*gently=*/true);
}

void Server::Stop() {
  BeginDrain();
  if (threads_.empty()) return;
  for (const auto& connection : connections()) connection->Stop(/*gently=*/false);
  MutexLock lock(mu_);
  while (!connections_.empty()) changed_.Wait(mu_);
}

std::shared_ptr<Exchange> Server::Answer(Request request) {
  return application_->Answer(std::move(request));
}

std::shared_ptr<Exchange> Server::Refuse(int status, const std::string& message) {
  return application_->Refuse(status, message);
}

std::optional<rpc::Shares::Held> Server::AdmitBody(const std::string& peer, std::size_t bytes) {
  return arriving_.Take(options_.trusted.ShareKey(peer), static_cast<std::int64_t>(bytes));
}

rpc::ConnectionTable::Call Server::BeginCall(const std::string& peer) {
  return listener_->connections().BeginCall(peer);
}

}  // namespace thinkwire::router::http
