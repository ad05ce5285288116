#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/listener.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace thinkwire {
class Metrics;
}  // namespace thinkwire

namespace thinkwire::rpc {

class HealthService;

// Of one request. A prompt that fills a context of 160k tokens, the family's longest, is less than
// 1 MB.
inline constexpr int kMaxMessageBytes = 2 << 20;

struct GrpcServerOptions {
  std::string listen;                      // "host:port"; port 0 takes a free one
  std::vector<grpc::Service*> services{};  // outlive the server
  // Names that grpc.health.v1 knows beside "".
  std::vector<std::string> health_names{};
  // Whether reflection is served on addresses other than loopback, where it always is.
  bool reflection_everywhere = false;
  // What gRPC may hold for requests that are still arriving, over all connections.
  std::size_t memory_quota_bytes = std::size_t{512} << 20;
  int max_message_bytes = kMaxMessageBytes;
  int max_streams = 4096;      // per connection; about 20 KB each
  int max_connections = 1024;  // one more is reset
  Metrics* metrics = nullptr;  // where connections are counted; nullptr: nowhere
  // A peer that was silent for so long is asked for a sign of life, and then has so long for it.
  int keepalive_time_ms = kServerKeepaliveTimeMs;
  int keepalive_timeout_ms = kServerKeepaliveTimeoutMs;
  int handshake_timeout_ms = kHandshakeTimeoutMs;  // until HTTP/2 has begun on a new connection
};

// A listening gRPC server with true health, limits and keepalive.
// Threads: any; Shutdown once.
class GrpcServer {
 public:
  // Listens; health says NOT_SERVING until SetServing(true).
  // Fails: UNAVAILABLE the address cannot be had (taken, not ours, malformed).
  //        RESOURCE_EXHAUSTED no connection fits into the process's limit of open files.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(const GrpcServerOptions& options);

  ~GrpcServer();  // Shutdown(0) unless it was called
  GrpcServer(const GrpcServer&) = delete;
  GrpcServer& operator=(const GrpcServer&) = delete;

  int port() const { return listener_->port(); }

  void SetServing(bool serving);

  // Health says NOT_SERVING and no new call is taken; running calls have `grace` to end, then they
  // are cancelled. Blocks until all have ended.
  void Shutdown(Clock::Duration grace);

 private:
  GrpcServer(std::unique_ptr<HealthService> health, std::unique_ptr<grpc::Server> server,
             std::unique_ptr<Listener> listener);

  const std::unique_ptr<HealthService> health_;
  const std::unique_ptr<grpc::Server> server_;
  const std::unique_ptr<Listener> listener_;
  bool shut_down_ = false;
};

}  // namespace thinkwire::rpc
