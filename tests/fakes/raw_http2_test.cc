#include "tests/fakes/raw_http2.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/rpc/grpc_server.h"
#include "grpc/health/v1/health.pb.h"

namespace thinkwire {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr char kWatch[] = "/grpc.health.v1.Health/Watch";

class RawHttp2Test : public testing::Test {
 protected:
  RawHttp2Test() { server_->SetServing(true); }

  int port() const { return server_->port(); }

  static std::string Request(const std::string& service) {
    HealthCheckRequest request;
    request.set_service(service);
    return request.SerializeAsString();
  }

  static HealthCheckResponse::ServingStatus StatusIn(const std::string& message) {
    HealthCheckResponse response;
    EXPECT_TRUE(response.ParseFromString(message));
    return response.status();
  }

  const std::unique_ptr<rpc::GrpcServer> server_ =
      *rpc::GrpcServer::Start({.listen = "127.0.0.1:0"});
};

TEST_F(RawHttp2Test, MakesCallsAndReadsTheirMessageAndStatus) {
  RawHttp2 client({.port = port(), .source = "127.0.0.2"});
  for (int i = 0; i < 3; ++i) {  // later headers come from HPACK's dynamic table
    const std::uint32_t call = client.Call(kCheck, Request(""));
    ASSERT_TRUE(client.ReadUntilOver(call));
    EXPECT_TRUE(client.stream(call).Status().ok()) << client.stream(call).Status();
    ASSERT_EQ(client.stream(call).Messages().size(), 1u);
    EXPECT_EQ(StatusIn(client.stream(call).Messages()[0]), HealthCheckResponse::SERVING);
  }
}

TEST_F(RawHttp2Test, ReadsErrorsWithTheirTextAndReason) {
  RawHttp2 client({.port = port()});
  const std::uint32_t call = client.Call(kCheck, Request("no such\nservice"));
  ASSERT_TRUE(client.ReadUntilOver(call));
  const absl::Status status = client.stream(call).Status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "no service \"no such\nservice\" here");
}

TEST_F(RawHttp2Test, SendsMessagesLargerThanTheServersWindow) {
  RawHttp2 client({.port = port()});
  const std::uint32_t call = client.Call(kCheck, Request(std::string(1 << 20, 'x')));
  ASSERT_TRUE(client.ReadUntilOver(call));
  EXPECT_EQ(client.stream(call).Status().code(), absl::StatusCode::kNotFound);
}

TEST_F(RawHttp2Test, AShutWindowHoldsDataBackUntilItOpens) {
  RawHttp2 client({.port = port(), .window = 0});
  const std::uint32_t shut = client.Call(kWatch, Request(""));
  ASSERT_TRUE(client.ReadUntil([&] { return !client.stream(shut).headers.empty(); }));
  const std::uint32_t other = client.Call(kCheck, Request("none"));  // answered by trailers alone
  ASSERT_TRUE(client.ReadUntilOver(other));
  EXPECT_TRUE(client.stream(shut).data.empty());
  client.OpenWindow(shut, 100);
  ASSERT_TRUE(client.ReadUntil([&] { return client.stream(shut).Messages().size() == 1; }));
  EXPECT_FALSE(client.stream(shut).over());
}

TEST_F(RawHttp2Test, ResetsStreamsAndGoesOn) {
  RawHttp2 client({.port = port()});
  for (int i = 0; i < 100; ++i) client.Reset(client.OpenCall(kWatch));
  const std::uint32_t call = client.Call(kCheck, Request(""));
  ASSERT_TRUE(client.ReadUntilOver(call));
  EXPECT_TRUE(client.stream(call).Status().ok());
  EXPECT_FALSE(client.closed());
}

TEST_F(RawHttp2Test, SeesTheServerGo) {
  RawHttp2 client({.port = port()});
  const std::uint32_t call = client.Call(kCheck, Request(""));
  ASSERT_TRUE(client.ReadUntilOver(call));
  server_->Shutdown(std::chrono::seconds(0));
  client.ReadUntil([] { return false; });
  EXPECT_TRUE(client.closed());
  EXPECT_TRUE(client.told_to_go());
}

}  // namespace
}  // namespace thinkwire
