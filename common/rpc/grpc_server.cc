#include "common/rpc/grpc_server.h"

#include <grpc/grpc.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/listen_address.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/rpc/few_pollers.h"
#include "common/rpc/frame_limits.h"
#include "common/rpc/grpc_log.h"
#include "common/rpc/health_service.h"
#include "common/rpc/keepalive.h"
#include "common/rpc/lock_order.h"
#include "common/rpc/monotonic_waits.h"
#include "common/rpc/open_calls.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/reflection_service.h"
#include "common/rpc/window_updates.h"
#include "common/status.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

constexpr int kGrpcMessageBytes = 16 << 20;

// After the end of a shutdown's grace, when gRPC cancels what is left, all at once and without a
// reason.
constexpr auto kLastResort = std::chrono::seconds(5);
// Once no call is left, connections have so long to end as GOAWAY asks them to.
constexpr auto kFarewell = std::chrono::milliseconds(500);
// How long a connection has no call before it is closed in a drain, and how often connections are
// looked at in its end.
constexpr auto kIdleMoment = std::chrono::milliseconds(100);
constexpr int kLastSweeps = 3;

void SetLimits(grpc::ServerBuilder& builder, const GrpcServerOptions& options) {
  grpc::ResourceQuota quota("thinkwire");
  quota.Resize(options.memory_quota_bytes);
  builder.SetResourceQuota(quota);
  // Ours is checked by ServerCall, which can say so: gRPC's own error has no reason. gRPC too
  // buffers a message before it looks at its size.
  builder.SetMaxReceiveMessageSize(std::max(kGrpcMessageBytes, 2 * options.max_message_bytes));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, options.max_streams);
  // Likewise.
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 2 * options.max_metadata_bytes);
  // A window stays as it is, as a channel's: what a client can send that nobody reads is bounded.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
  // Nobody looks at what gRPC counts for that, at each message.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_CHANNELZ, 0);
  // gRPC inflates a message before anybody can see its size: a thousandfold of what has arrived.
  builder.AddChannelArgument(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET,
                             1 << GRPC_COMPRESS_NONE);
  // So the filters that look at each message for that have nothing to do.
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_COMPRESSION, 0);
  builder.AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

absl::StatusOr<std::unique_ptr<Listener>> Listen(const GrpcServerOptions& options) {
  RETURN_IF_ERROR(CheckRoomForConnections(options.max_connections));
  const int fits = MakeRoomForConnections(options.max_connections);
  if (fits < options.max_connections) {
    LogWarning("the limit of open files leaves fewer connections",
               {{"max_connections", options.max_connections}, {"connections", fits}});
  }
  Listener::Options listen{
      .address = options.listen, .max_connections = fits, .trusted_peers = options.trusted_peers};
  if (Metrics* const metrics = options.metrics; metrics != nullptr) {
    listen.connections = &prometheus::BuildGauge()
                              .Name(metrics->prefix() + "_connections")
                              .Help("Open connections of the gRPC port")
                              .Register(metrics->registry())
                              .Add({});
    const auto add_counter = [metrics](const std::string& name, const std::string& help) {
      return &prometheus::BuildCounter()
                  .Name(metrics->prefix() + name)
                  .Help(help)
                  .Register(metrics->registry())
                  .Add({});
    };
    listen.refused = add_counter("_refused_connections_total",
                                 "Connections that were reset, as there were too many");
    listen.displaced = add_counter("_displaced_connections_total",
                                   "Connections that were ended to make place for others");
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

OpenCalls::Options MakeCallOptions(const GrpcServerOptions& options, ConnectionTable& connections) {
  OpenCalls::Options calls;
  calls.limits.message = options.message_timeout;
  calls.limits.reader = options.reader_timeout;
  calls.limits.message_bytes = static_cast<std::size_t>(options.max_message_bytes);
  calls.max_metadata_bytes = static_cast<std::size_t>(options.max_metadata_bytes);
  calls.max_calls = options.max_calls;
  calls.trusted_peers = options.trusted_peers;
  calls.forwarders = options.forwarders;
  calls.connections = &connections;
  calls.metrics = options.metrics;
  return calls;
}

// Null: `options` want none.
std::unique_ptr<ReflectionService> MakeReflection(const GrpcServerOptions& options) {
  if (!options.reflection_everywhere && !IsLoopback(options.listen)) return nullptr;
  std::set<std::string> names;
  for (const RawService* service : options.services) names.merge(std::set(service->names()));
  names.insert(grpc::health::v1::Health::service_full_name());
  return std::make_unique<ReflectionService>(std::move(names), options.trusted_peers,
                                             options.admit);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(const GrpcServerOptions& options) {
  SendGrpcLogsToOurs();
  WaitByMonotonicClock();
  DoNotWatchLockOrder();
  PollWithFewThreads();
  TellOfWindowsSeldom();
  LimitFrames(2 * static_cast<std::size_t>(options.max_metadata_bytes));
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Listen(options));
  std::unique_ptr<GrpcServer> server(new GrpcServer(options, std::move(listener)));
  RETURN_IF_ERROR(server->Serve(options));
  return server;
}

GrpcServer::GrpcServer(const GrpcServerOptions& options, std::unique_ptr<Listener> listener)
    : listener_(std::move(listener)),
      calls_(std::make_unique<OpenCalls>(MakeCallOptions(options, listener_->connections()))),
      unknown_methods_(std::make_unique<UnknownMethods>(*calls_)),
      health_(std::make_unique<HealthService>(options.health_names, options.own_health_names,
                                              options.trusted_peers)),
      reflection_(MakeReflection(options)) {}

absl::Status GrpcServer::Serve(const GrpcServerOptions& options) {
  grpc::ServerBuilder builder;
  // Shared with the listener, as std::function must be copyable.
  const std::shared_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor =
      builder.experimental().AddExternalConnectionAcceptor(
          grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
          options.credentials ? options.credentials : grpc::InsecureServerCredentials());
  SetLimits(builder, options);
  SetTimeouts(builder, options);
  std::vector<RawService*> services = options.services;
  services.push_back(health_.get());
  if (reflection_ != nullptr) services.push_back(reflection_.get());
  for (RawService* service : services) {
    service->Attach(*calls_);
    builder.RegisterService(service);
  }
  builder.RegisterCallbackGenericService(unknown_methods_.get());
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return absl::UnavailableError("gRPC does not start a server");
  listener_->StartWatching([acceptor](FileDescriptor connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.fd = connection.Release();
    acceptor->HandleNewConnection(&parameters);
  });
  return absl::OkStatus();
}

GrpcServer::~GrpcServer() {
  if (!shut_down_) Shutdown(Clock::Duration::zero());
}

void GrpcServer::SetServing(bool serving) { health_->SetServing(serving); }

void GrpcServer::SetServing(const std::string& own_health_name, bool serving) {
  health_->SetServing(own_health_name, serving);
}

void GrpcServer::ForgetHealth(const std::string& own_health_name) {
  health_->Forget(own_health_name);
}

void GrpcServer::BeginDrain() {
  health_->Shutdown();
  listener_->Stop();
  drain_ = std::thread([this] { Drain(); });
}

void GrpcServer::Drain() {
  const std::future<void> end = drained_.get_future();
  do {
    listener_->connections().CloseIdle();
  } while (end.wait_for(kIdleMoment) == std::future_status::timeout);
}

// Has calls end and then connections, so that none is open, and no call on its way, when gRPC shuts
// down.
void GrpcServer::EndDrain(Clock::Duration grace) {
  drained_.set_value();
  drain_.join();
  calls_->ShutDown(grace);
  const Clock::TimePoint give_up = Clock::Real().Now() + grace + 2 * calls_->limits().goodbye;
  // Clients whose last call has just ended are between two calls too.
  for (int sweeps = 0; sweeps < kLastSweeps || calls_->size() > 0; ++sweeps) {
    if (listener_->connections().size() == 0 || Clock::Real().Now() > give_up) break;
    std::this_thread::sleep_for(kIdleMoment);
    listener_->connections().CloseIdle();
  }
  // Who asks again and again, and is refused, hears of the end as of a lost connection.
  listener_->connections().CloseAll();
}

void GrpcServer::Shutdown(Clock::Duration grace) {
  shut_down_ = true;
  if (drain_.joinable()) EndDrain(grace);
  if (server_ == nullptr) return;
  health_->Shutdown();
  listener_->Stop();
  calls_->ShutDown(grace);
  std::promise<void> done;
  std::thread farewell([this, done = done.get_future()] {
    calls_->WaitUntilNone();
    // gRPC waits for every connection to end, and so for clients that do not heed its GOAWAY.
    if (done.wait_for(kFarewell) == std::future_status::timeout)
      listener_->connections().CloseAll();
  });
  // gRPC takes wall-clock deadlines here and turns them into monotonic ones at once. It has nothing
  // left to cancel by then, but what began as it shut down.
  server_->Shutdown(
      std::chrono::system_clock::now() +
      std::chrono::duration_cast<std::chrono::system_clock::duration>(grace + kLastResort));
  server_->Wait();
  done.set_value();
  farewell.join();
  calls_->WaitUntilNone();
}

}  // namespace thinkwire::rpc
