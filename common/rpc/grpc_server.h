#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/clock.h"
#include "common/peer_limits.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/listener.h"
#include "common/rpc/trusted_peers.h"

namespace grpc {
class CallbackServerContext;
class Server;
class ServerCredentials;
}  // namespace grpc

namespace thinkwire {
class Metrics;
}  // namespace thinkwire

namespace thinkwire::rpc {

class HealthService;
class OpenCalls;
class RawService;
class ReflectionService;
class UnknownMethods;

struct GrpcServerOptions {
  std::string listen;                   // "host:port"; port 0 takes a free one
  std::vector<RawService*> services{};  // outlive the server
  // Names that grpc.health.v1 knows beside HealthService's own: of the same status as "", and each
  // with its own.
  std::vector<std::string> health_names{};
  std::vector<std::string> own_health_names{};
  std::shared_ptr<grpc::ServerCredentials> credentials{};  // null: nothing is encrypted
  // Whether who calls may use reflection (RawService::Admit); empty: everybody. Health is for all.
  std::function<absl::Status(const grpc::CallbackServerContext&)> admit{};
  // Whether reflection is served on addresses other than loopback, where it always is.
  bool reflection_everywhere = false;
  // What gRPC may hold for requests that are still arriving, over all connections.
  std::size_t memory_quota_bytes = kMaxArrivingBytes;
  int max_message_bytes = kMaxMessageBytes;
  int max_metadata_bytes = kMaxMetadataBytes;  // of one call
  // Of one connection; about 20 KB each. More than kMaxStreamsOfConnection only forwarders have.
  int max_streams = kMaxStreamsOfConnection;
  std::int64_t max_calls = kMaxCalls;     // over all connections; what one client may have: Shares
  int max_connections = kMaxConnections;  // ConnectionTable says what becomes of one more
  TrustedPeers trusted_peers{};           // whom no share of connections, calls and watches limits
  TrustedPeers forwarders{};              // who have others' calls on one connection
  Metrics* metrics = nullptr;             // where connections are counted; nullptr: nowhere
  // A peer that was silent for so long is asked for a sign of life, and then has so long for it.
  int keepalive_time_ms = kServerKeepaliveTimeMs;
  int keepalive_timeout_ms = kServerKeepaliveTimeoutMs;
  int handshake_timeout_ms = kHandshakeTimeoutMs;  // until HTTP/2 has begun on a new connection
  // How long a call waits for its message, and for its reader (ServerCall::Limits).
  Clock::Duration message_timeout = kMessageTimeout;
  Clock::Duration reader_timeout = kReaderTimeout;
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

  // Of the whole; and of an own name, be it one of own_health_names or one more.
  void SetServing(bool serving);
  void SetServing(const std::string& own_health_name, bool serving);
  // Health does not know the own name any more.
  void ForgetHealth(const std::string& own_health_name);

  // Sends clients elsewhere while their running calls go on: health says NOT_SERVING, nobody can
  // connect any more, and each connection is closed that has been without a call for a moment.
  // Until then new calls are still the services' to answer. Does not block; Shutdown must follow.
  // (gRPC 1.51 sends a GOAWAY only as it shuts down, and answers the calls that are on their way
  // then with a bare CANCELLED, which no client takes for a reason to try again.)
  void BeginDrain();

  // Health says NOT_SERVING and no new call is taken; running calls have `grace` to end, then they
  // end with UNAVAILABLE, reason DRAINING. Who does not read an end within a second is cut off.
  // Blocks until all calls are over.
  void Shutdown(Clock::Duration grace);

 private:
  GrpcServer(const GrpcServerOptions& options, std::unique_ptr<Listener> listener);
  absl::Status Serve(const GrpcServerOptions& options);

  void Drain();
  void EndDrain(Clock::Duration grace);

  const std::unique_ptr<Listener> listener_;
  const std::unique_ptr<OpenCalls> calls_;
  const std::unique_ptr<UnknownMethods> unknown_methods_;
  const std::unique_ptr<HealthService> health_;
  const std::unique_ptr<ReflectionService> reflection_;  // null: it is not served
  std::unique_ptr<grpc::Server> server_;                 // null if Serve failed
  bool shut_down_ = false;
  std::thread drain_;           // from BeginDrain to Shutdown
  std::promise<void> drained_;  // ends it
};

}  // namespace thinkwire::rpc
