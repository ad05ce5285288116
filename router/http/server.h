#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "common/rpc/listener.h"
#include "common/rpc/shares.h"
#include "common/rpc/trusted_peers.h"
#include "router/http/connection.h"
#include "router/http/http_limits.h"

namespace thinkwire::router::http {

class TlsContexts;

// Who answers what a Server's connections bring. Threads: any; must not block.
class Application {
 public:
  virtual ~Application() = default;
  virtual std::shared_ptr<Exchange> Answer(Request request) = 0;
  // The answer to what is no request, or came too late or too large.
  virtual std::shared_ptr<Exchange> Refuse(int status, const std::string& message) = 0;
};

// The door's port: accepts connections, at most so many (rpc::Listener says whose go), and runs
// them on a few threads, each connection on its strand.
// Owns: the port, connections, threads. Threads: any.
class Server final : private Site {
 public:
  struct Options {
    std::string listen;  // "host:port"; port 0 takes a free one
    int max_connections = kMaxConnections;
    rpc::TrustedPeers trusted{};
    Patience patience{};
    const TlsContexts* tls = nullptr;          // null: nothing is encrypted; outlives the server
    prometheus::Gauge* connections = nullptr;  // as rpc::Listener has them
    prometheus::Counter* refused = nullptr;
    prometheus::Counter* displaced = nullptr;
  };
  // Listens; connections wait until Start. Fails: UNAVAILABLE the address cannot be had.
  static absl::StatusOr<std::unique_ptr<Server>> Listen(Options options);
  ~Server() override;  // REQUIRES: Stop, and no exchange is being answered any more
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const { return listener_->port(); }

  // Accepts from now on. Once. `application` outlives the connections.
  void Start(Application& application);

  // Accepts no more; connections end with the answer that they are at. Idempotent.
  void BeginDrain();
  // Ends all connections and waits for that; what they were answered with is lost. Idempotent.
  void Stop();

 private:
  explicit Server(Options options, std::unique_ptr<rpc::Listener> listener);

  // Site.
  std::shared_ptr<Exchange> Answer(Request request) override;
  std::shared_ptr<Exchange> Refuse(int status, const std::string& message) override;
  std::optional<rpc::Shares::Held> AdmitBody(const std::string& peer, std::size_t bytes) override;
  bool draining() const override { return draining_; }
  const Patience& patience() const override { return options_.patience; }
  rpc::ConnectionTable::Call BeginCall(const std::string& peer) override;

  // On the listener's thread.
  void Accept(rpc::Listener::Accepted accepted);
  void Forget(std::uint64_t id);
  std::vector<std::shared_ptr<Connection>> connections() const;

  const Options options_;
  Application* application_ = nullptr;  // constant after Start
  rpc::Shares arriving_;
  std::atomic<bool> draining_ = false;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;
  const std::unique_ptr<rpc::Listener> listener_;

  mutable Mutex mu_;
  CondVar changed_;
  std::map<std::uint64_t, std::weak_ptr<Connection>> connections_ ABSL_GUARDED_BY(mu_);
  std::uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;
};

}  // namespace thinkwire::router::http
