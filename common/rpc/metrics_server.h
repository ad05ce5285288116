#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/mutex.h"
#include "common/peer_limits.h"
#include "common/rpc/http_connection.h"
#include "common/rpc/listener.h"

namespace thinkwire {
class Metrics;
}  // namespace thinkwire

namespace thinkwire::rpc {

// Shows a process's metrics to Prometheus: GET of /metrics over HTTP/1.1.
//
// Nobody holds it against others: a connection ends `patience` after it was accepted, however far
// it is. A new one is always taken: of more than kMaxConnections the oldest one of the peer (by
// PeerKey) that has most is ended, and of peers that have equally many the oldest one of all. If it
// has sent its request by then, it has its answer too, so that who asks by the thousand a second
// keeps out neither others nor himself. What answers cost is bounded by PageCache.
//
// Owns: the port, its connections, two threads. Threads: any.
class MetricsServer {
 public:
  static constexpr int kMaxConnections = kMaxMetricsConnections;

  struct Options {
    std::string listen;                 // "host:port"; port 0 takes a free one
    std::function<std::string()> page;  // rendered on a thread of the server
    Clock::Duration patience = kMetricsTimeout;
  };

  // Fails: UNAVAILABLE the address cannot be had (taken, not ours, malformed).
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(Options options);

  ~MetricsServer();  // ends all connections
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  int port() const { return listener_->port(); }

 private:
  struct Connection {
    HttpConnection http;
    ConnectionTable::Entry entry;  // goes before the socket
    std::string peer;              // its PeerKey
    Clock::TimePoint give_up;
  };
  // By a number that grows with each, so that the first was accepted first.
  using Connections = std::map<std::uint64_t, Connection>;

  MetricsServer(Options options, std::unique_ptr<Listener> listener);

  // On the listener's thread.
  void Take(Listener::Accepted accepted);
  void MakePlaceFor(const std::string& peer) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // On the own thread.
  void Run();
  void Serve(std::uint64_t id);
  // Until the next connection has to end, in ms; -1: there is none.
  int TimeLeftMs();
  void EndOverdue();

  // Reads, answers and writes what can be had now.
  HttpConnection::Wants GoOn(HttpConnection& http) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Waits for what the connection wants, or ends it.
  void Want(Connections::iterator connection, HttpConnection::Wants wants)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void End(Connections::iterator connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Wake();

  // Constant after Start.
  const Options options_;
  const std::function<std::string()> page_;  // from a PageCache
  const FileDescriptor events_;              // epoll
  const FileDescriptor wake_;  // eventfd: stop, or look at the connections' times again
  const std::unique_ptr<Listener> listener_;
  std::atomic<bool> stopping_ = false;

  Mutex mu_;
  Connections connections_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::set<std::uint64_t>> by_peer_ ABSL_GUARDED_BY(mu_);  // none is empty
  std::uint64_t next_id_ ABSL_GUARDED_BY(mu_) = 1;

  std::thread thread_;
};

// A server that shows `metrics`, which outlive it, at `listen`; nullptr where that is empty.
absl::StatusOr<std::unique_ptr<MetricsServer>> ShowMetrics(const Metrics& metrics,
                                                           const std::string& listen);

}  // namespace thinkwire::rpc
