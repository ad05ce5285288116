#include "common/rpc/grpc_server.h"

#include <grpc/grpc.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/listen_address.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/health_service.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/monotonic_waits.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

// Linking the reflection library turns reflection on for every server; this decides it for one.
class ReflectionOption final : public grpc::ServerBuilderOption {
 public:
  explicit ReflectionOption(bool enabled) : enabled_(enabled) {}
  void UpdateArguments(grpc::ChannelArguments* /*arguments*/) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->clear();
    if (enabled_) {
      plugins->push_back(std::make_unique<grpc::reflection::ProtoServerReflectionPlugin>());
    }
  }

 private:
  const bool enabled_;
};

void SetLimits(grpc::ServerBuilder& builder, const GrpcServerOptions& options) {
  grpc::ResourceQuota quota("thinkwire");
  quota.Resize(options.memory_quota_bytes);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(options.max_message_bytes);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams);
}

absl::StatusOr<std::unique_ptr<Listener>> Listen(const GrpcServerOptions& options) {
  const int fits = MakeRoomForConnections(options.max_connections);
  if (fits == 0) {
    return absl::ResourceExhaustedError("the limit of open files leaves none for connections");
  }
  if (fits < options.max_connections) {
    LogWarning("the limit of open files leaves fewer connections",
               {{"max_connections", options.max_connections}, {"connections", fits}});
  }
  Listener::Options listen{.address = options.listen, .max_connections = fits};
  if (Metrics* const metrics = options.metrics; metrics != nullptr) {
    listen.connections = &prometheus::BuildGauge()
                              .Name(metrics->prefix() + "_connections")
                              .Help("Open connections of the gRPC port")
                              .Register(metrics->registry())
                              .Add({});
    listen.refused = &prometheus::BuildCounter()
                          .Name(metrics->prefix() + "_refused_connections_total")
                          .Help("Connections that were reset, as there were too many")
                          .Register(metrics->registry())
                          .Add({});
  }
  return Listener::Listen(std::move(listen));
}

void SetTimeouts(grpc::ServerBuilder& builder, const GrpcServerOptions& options) {
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, options.handshake_timeout_ms);
  // Silent streams are normal (a long prefill, a queue), and clients may ping through them.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kMinReceivedPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A client that vanished without a word is noticed by the server's own pings.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, options.keepalive_time_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, options.keepalive_timeout_ms);
  builder.AddChannelArgument(kPingTimeoutArgument, options.keepalive_timeout_ms);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options) {
  SendGrpcLogsToOurs();
  WaitByMonotonicClock();
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Listen(options));
  auto health = std::make_unique<HealthService>(options.health_names);
  grpc::ServerBuilder builder;
  // Shared with the listener, as std::function must be copyable.
  const std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor =
      builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
          grpc::InsecureServerCredentials());
  builder.SetOption(std::make_unique<ReflectionOption>(options.reflection_everywhere ||
                                                       IsLoopback(options.listen)));
  SetLimits(builder, options);
  SetTimeouts(builder, options);
  builder.RegisterService(health.get());
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return absl::UnavailableError("gRPC does not start a server");
  listener->Start([acceptor](FileDescriptor connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.Release();
    acceptor->HandleNewConnection(&parameters);
  });
  return std::unique_ptr<GrpcServer>(
      new GrpcServer(std::move(health), std::move(server), std::move(listener)));
}

GrpcServer::GrpcServer(std::unique_ptr<HealthService> health, std::unique_ptr<grpc::Server> server,
                       std::unique_ptr<Listener> listener)
    : health_(std::move(health)), server_(std::move(server)), listener_(std::move(listener)) {}

GrpcServer::~GrpcServer() {
  if (!shut_down_) Shutdown(Clock::Duration::zero());
}

void GrpcServer::SetServing(bool serving) { health_->SetServing(serving); }

void GrpcServer::Shutdown(Clock::Duration grace) {
  shut_down_ = true;
  health_->Shutdown();
  listener_->Stop();
  // gRPC takes wall-clock deadlines here and turns them into monotonic ones at once.
  server_->Shutdown(std::chrono::system_clock::now() +
                    std::chrono::duration_cast<std::chrono::system_clock::duration>(grace));
  server_->Wait();
}

}  // namespace thinkwire::rpc
