#include "common/rpc/grpc_server.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "grpc/health/v1/health.grpc.pb.h"

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

TEST(GrpcServer, KnowsLoopbackAddresses) {
  for (const char* address : {"127.0.0.1:1", "127.1.2.3:1", "localhost:1", "[::1]:1", "unix:/x"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address : {"0.0.0.0:1", "[::]:1", "10.0.0.1:1", "localhost.example.org:1"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

}  // namespace
}  // namespace thinkwire::rpc
