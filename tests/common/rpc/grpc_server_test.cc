#include "common/rpc/grpc_server.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <prometheus/registry.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/metrics.h"
#include "common/rpc/channel.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/common/rpc/dial.h"

namespace thinkwire::rpc {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

std::unique_ptr<GrpcServer> StartServer(GrpcServerOptions options = {}) {
  if (options.listen.empty()) options.listen = "127.0.0.1:0";
  options.health_names = {"thinkwire.v1.WorkerService"};
  auto server = GrpcServer::Start(options);
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

std::unique_ptr<Health::Stub> Connect(const GrpcServer& server) {
  return Health::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", server.port())));
}

// Never reached by a passing test.
void SetLongDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  context.set_wait_for_ready(true);
}

grpc::Status Check(Health::Stub& stub, const std::string& name, HealthCheckResponse& response) {
  grpc::ClientContext context;
  SetLongDeadline(context);
  HealthCheckRequest request;
  request.set_service(name);
  return stub.Check(&context, request, &response);
}

double Value(Metrics& metrics, const std::string& name) {
  for (const prometheus::MetricFamily& family : metrics.registry().Collect()) {
    if (family.name != name) continue;
    const prometheus::ClientMetric& metric = family.metric.front();
    return family.type == prometheus::MetricType::Counter ? metric.counter.value
                                                          : metric.gauge.value;
  }
  ADD_FAILURE() << name << " is not there";
  return -1;
}

double Connections(Metrics& metrics) { return Value(metrics, "test_connections"); }

// A wire between one client and the server, which can be cut: then nothing arrives any more, and
// nobody is told.
class Wire {
 public:
  explicit Wire(int server) : listener_(*Listener::Listen({.address = "127.0.0.1:0"})) {
    listener_->StartWatching([this, server](FileDescriptor client) {
      if (thread_.joinable()) return;  // the client dials again once it misses the server
      thread_ = std::thread([this, client = std::move(client), server] {
        const FileDescriptor far = Dial(server);
        Carry(client, far);
        stopped_.WaitForNotification();
      });
    });
  }
  ~Wire() {
    listener_->Stop();
    Cut();
    stopped_.Notify();
    if (thread_.joinable()) thread_.join();
  }

  int port() const { return listener_->port(); }
  void Cut() { cut_ = true; }

 private:
  void Carry(const FileDescriptor& client, const FileDescriptor& server) const {
    std::array<pollfd, 2> ends{{{.fd = client.get(), .events = POLLIN, .revents = 0},
                                {.fd = server.get(), .events = POLLIN, .revents = 0}}};
    std::array<char, 4096> bytes{};
    while (!cut_) {
      poll(ends.data(), ends.size(), 20);
      for (std::size_t i = 0; i < 2 && !cut_; ++i) {
        if ((ends[i].revents & POLLIN) == 0) continue;
        const ssize_t got = recv(ends[i].fd, bytes.data(), bytes.size(), 0);
        if (got > 0) send(ends[1 - i].fd, bytes.data(), static_cast<std::size_t>(got), 0);
      }
    }
  }

  std::atomic<bool> cut_ = false;
  absl::Notification stopped_;
  std::thread thread_;  // begun and ended by the listener's thread, and by ours once that has ended
  const std::unique_ptr<Listener> listener_;
};

TEST(GrpcServer, IsNotServingUntilItIsSaid) {
  const auto server = StartServer();
  const auto stub = Connect(*server);
  for (const std::string name : {"", "thinkwire.v1.WorkerService"}) {
    HealthCheckResponse response;
    ASSERT_TRUE(Check(*stub, name, response).ok());
    EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  }
  server->SetServing(true);
  for (const std::string name : {"", "thinkwire.v1.WorkerService"}) {
    HealthCheckResponse response;
    ASSERT_TRUE(Check(*stub, name, response).ok());
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  }
}

TEST(GrpcServer, LivenessReadinessAndVariantsAreNamesOfHealth) {
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  options.own_health_names = {"variant/a", "variant/b"};
  const auto server = *GrpcServer::Start(options);
  const auto stub = Connect(*server);
  const auto serving = [&] {
    std::vector<std::string> names;
    for (const std::string name : {"", "liveness", "readiness", "variant/a", "variant/b"}) {
      HealthCheckResponse response;
      EXPECT_TRUE(Check(*stub, name, response).ok()) << name;
      if (response.status() == HealthCheckResponse::SERVING) names.push_back(name);
    }
    return names;
  };
  using Names = std::vector<std::string>;
  EXPECT_EQ(serving(), (Names{"liveness"}));
  server->SetServing("variant/b", true);
  EXPECT_EQ(serving(), (Names{"liveness", "variant/b"}));
  server->SetServing(true);
  EXPECT_EQ(serving(), (Names{"", "liveness", "readiness", "variant/b"}));
  server->SetServing("variant/b", false);
  EXPECT_EQ(serving(), (Names{"", "liveness", "readiness"}));
}

TEST(GrpcServer, AWatchOfAVariantHearsOfThatVariantAlone) {
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  options.own_health_names = {"variant/a"};
  const auto server = *GrpcServer::Start(options);
  const auto stub = Connect(*server);
  grpc::ClientContext context;
  SetLongDeadline(context);
  HealthCheckRequest request;
  request.set_service("variant/a");
  const auto watch = stub->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server->SetServing(true);
  server->SetServing("variant/a", true);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  server->SetServing(false);
  server->Shutdown(std::chrono::seconds(60));
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&response));
}

TEST(GrpcServer, AWatchHearsThatItsNameComesAndGoes) {
  const auto server = StartServer();
  const auto stub = Connect(*server);
  grpc::ClientContext context;
  SetLongDeadline(context);
  HealthCheckRequest request;
  request.set_service("variant/a");
  const auto watch = stub->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  server->SetServing("variant/a", true);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  HealthCheckResponse checked;
  EXPECT_TRUE(Check(*stub, "variant/a", checked).ok());
  server->ForgetHealth("variant/a");
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  EXPECT_EQ(Check(*stub, "variant/a", checked).error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST(GrpcServer, DoesNotKnowOtherServices) {
  const auto server = StartServer();
  const auto stub = Connect(*server);
  HealthCheckResponse response;
  EXPECT_EQ(Check(*stub, "other", response).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Check(*stub, "\xff", response).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST(GrpcServer, WatchersSeeEveryChangeAndEndWithTheServer) {
  const auto server = StartServer();
  const auto stub = Connect(*server);
  grpc::ClientContext context;
  SetLongDeadline(context);
  const auto watch = stub->Watch(&context, HealthCheckRequest());
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  server->SetServing(true);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);

  server->Shutdown(std::chrono::seconds(60));  // does not wait for watchers
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&response));
}

TEST(GrpcServer, AWatchOfAnUnknownNameWaits) {
  const auto server = StartServer();
  const auto stub = Connect(*server);
  grpc::ClientContext context;
  SetLongDeadline(context);
  HealthCheckRequest request;
  request.set_service("other");
  const auto watch = stub->Watch(&context, request);
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  context.TryCancel();
  EXPECT_FALSE(watch->Read(&response));
}

TEST(GrpcServer, RefusesAPortThatIsTaken) {
  const auto server = StartServer();
  GrpcServerOptions options;
  options.listen = absl::StrCat("127.0.0.1:", server->port());
  const auto second = GrpcServer::Start(options);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(second.status().message().find(options.listen), absl::string_view::npos);
}

TEST(GrpcServer, RefusesMessagesOverTheLimit) {
  GrpcServerOptions options;
  options.max_message_bytes = 1000;
  const auto server = StartServer(options);
  const auto stub = Connect(*server);
  HealthCheckResponse response;
  EXPECT_EQ(Check(*stub, std::string(2000, 'x'), response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST(GrpcServer, EndsIdleConnectionsForNewOnes) {
  constexpr int kLimit = 4;
  Metrics metrics("test");
  GrpcServerOptions options;
  options.max_connections = kLimit;
  options.metrics = &metrics;
  const auto server = StartServer(options);
  std::vector<std::unique_ptr<Health::Stub>> stubs;
  for (int i = 0; i < 3 * kLimit; ++i) {
    stubs.push_back(Connect(*server));
    HealthCheckResponse response;
    EXPECT_TRUE(Check(*stubs.back(), "", response).ok());
    EXPECT_LE(Connections(metrics), kLimit);
  }
  EXPECT_GE(Value(metrics, "test_displaced_connections_total"), 2 * kLimit);
  EXPECT_EQ(Value(metrics, "test_refused_connections_total"), 0);
  for (const auto& stub : stubs) {  // whoever has lost one connects again
    HealthCheckResponse response;
    EXPECT_TRUE(Check(*stub, "", response).ok());
  }
}

TEST(GrpcServer, IdleStreamsOverTheLimitWaitUntilAnotherEnds) {
  constexpr std::size_t kLimit = 4;
  GrpcServerOptions options;
  options.max_streams = kLimit;
  const auto server = StartServer(options);
  const auto stub = Connect(*server);
  struct Watch {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader;
  };
  std::vector<std::unique_ptr<Watch>> watches;
  HealthCheckResponse response;
  while (watches.size() < kLimit) {
    Watch& watch = *watches.emplace_back(std::make_unique<Watch>());
    SetLongDeadline(watch.context);
    watch.reader = stub->Watch(&watch.context, HealthCheckRequest());
    ASSERT_TRUE(watch.reader->Read(&response));
  }
  const auto check = [&](Clock::Duration patience) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + patience);
    HealthCheckResponse ignored;
    return stub->Check(&context, HealthCheckRequest(), &ignored).error_code();
  };
  auto waiting = std::async(std::launch::async, check, std::chrono::seconds(60));
  EXPECT_EQ(check(std::chrono::milliseconds(300)), grpc::StatusCode::DEADLINE_EXCEEDED);
  watches.back()->context.TryCancel();
  watches.pop_back();
  EXPECT_EQ(waiting.get(), grpc::StatusCode::OK);
  server->SetServing(true);
  for (const auto& watch : watches) {  // nobody else was harmed
    ASSERT_TRUE(watch->reader->Read(&response));
    EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  }
}

TEST(GrpcServer, AConnectionThatNeverSpeaksHttp2IsEnded) {
  GrpcServerOptions options;
  options.handshake_timeout_ms = 500;
  const auto server = StartServer(options);
  const FileDescriptor silent = Dial(server->port());
  std::array<char, 1024> bytes{};
  while (recv(silent.get(), bytes.data(), bytes.size(), 0) > 0) {  // its settings
  }
}

TEST(GrpcServer, AClientThatVanishedWithoutAWordIsEnded) {
  Metrics metrics("test");
  GrpcServerOptions options;
  options.keepalive_time_ms = 500;
  options.keepalive_timeout_ms = 500;
  options.metrics = &metrics;
  const auto server = StartServer(options);
  Wire wire(server->port());
  const auto stub = Health::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", wire.port())));
  grpc::ClientContext context;
  SetLongDeadline(context);
  const auto watch = stub->Watch(&context, HealthCheckRequest());
  HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  wire.Cut();
  while (Connections(metrics) > 0) std::this_thread::yield();
}

}  // namespace
}  // namespace thinkwire::rpc
