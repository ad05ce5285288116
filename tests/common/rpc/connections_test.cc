// Who keeps his connection when more come than there are places, through a whole server.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/fakes/raw_http2.h"

namespace thinkwire::rpc {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

void SetLongDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
}

class ConnectionsTest : public testing::Test {
 protected:
  void Serve(GrpcServerOptions options) {
    if (options.listen.empty()) options.listen = "127.0.0.1:0";
    auto server = GrpcServer::Start(options);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::unique_ptr<Health::Stub> Stub(const std::string& host = "127.0.0.1") const {
    return Health::NewStub(MakeChannel(absl::StrCat(host, ":", server_->port())));
  }

  // A probe by a new connection. It does not try again.
  static grpc::Status Probe(Health::Stub& stub) {
    grpc::ClientContext context;
    SetLongDeadline(context);
    HealthCheckResponse response;
    return stub.Check(&context, HealthCheckRequest(), &response);
  }

  RawHttp2& From(const std::string& source) {
    return wires_.emplace_back(RawHttp2::Options{.port = server_->port(), .source = source});
  }
  // Until HTTP/2 has begun on it, and so the server has it.
  RawHttp2& IdleFrom(const std::string& source) {
    RawHttp2& wire = From(source);
    EXPECT_TRUE(wire.ReadUntil([&] { return wire.max_streams() > 0; }));
    return wire;
  }
  // Until its watch has begun.
  RawHttp2& BusyFrom(const std::string& source) {
    RawHttp2& wire = From(source);
    const std::uint32_t watch = wire.Call("/grpc.health.v1.Health/Watch", "");
    EXPECT_TRUE(wire.ReadUntil([&] { return !wire.stream(watch).data.empty(); }));
    return wire;
  }

  static bool Closed(RawHttp2& wire) {
    while (wire.Read(Clock::Duration::zero())) {
    }
    return wire.closed();
  }

  std::deque<RawHttp2> wires_;
  std::unique_ptr<GrpcServer> server_;
};

// A watch through gRPC's own client.
class Watch {
 public:
  explicit Watch(std::unique_ptr<Health::Stub> stub) : stub_(std::move(stub)) {
    SetLongDeadline(context_);
    reader_ = stub_->Watch(&context_, HealthCheckRequest());
  }
  ~Watch() { context_.TryCancel(); }

  // The next status; nullopt: it has ended.
  std::optional<HealthCheckResponse::ServingStatus> Next() {
    HealthCheckResponse response;
    if (!reader_->Read(&response)) return std::nullopt;
    return response.status();
  }

 private:
  const std::unique_ptr<Health::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> reader_;
};

TEST_F(ConnectionsTest, ThoseThatOnlyAnswerPingsKeepNobodyOut) {
  constexpr int kMany = 1024;
  if (MakeRoomForConnections(2 * kMany) < 2 * kMany) GTEST_SKIP() << "too few files for both ends";
  GrpcServerOptions options;
  options.max_connections = kMany;
  options.keepalive_time_ms = 500;
  options.keepalive_timeout_ms = 60'000;  // the first are answered only once all are there
  Serve(options);
  for (int i = 0; i < kMany; ++i) IdleFrom("127.0.0.2");
  const auto pinged = [&] {
    return std::ranges::all_of(wires_, [](RawHttp2& wire) {
      wire.Read(Clock::Duration::zero());
      return wire.pings() > 0;
    });
  };
  while (!pinged()) std::this_thread::yield();
  EXPECT_EQ(std::ranges::count_if(wires_, Closed), 0);
  EXPECT_TRUE(Probe(*Stub()).ok());
  EXPECT_EQ(std::ranges::count_if(wires_, Closed), 1);
  EXPECT_TRUE(Closed(wires_.front()));  // the longest idle
}

TEST_F(ConnectionsTest, BusyOnesStay) {
  constexpr int kLimit = 7;
  GrpcServerOptions options;
  options.max_connections = kLimit;
  Serve(options);
  Watch watch(Stub());
  EXPECT_EQ(watch.Next(), HealthCheckResponse::NOT_SERVING);
  RawHttp2& busy = BusyFrom("127.0.0.2");
  for (int i = 0; i < 3 * kLimit; ++i) IdleFrom("127.0.0.2");
  EXPECT_TRUE(Probe(*Stub()).ok());
  server_->SetServing(true);
  EXPECT_EQ(watch.Next(), HealthCheckResponse::SERVING);
  EXPECT_FALSE(Closed(busy));
}

TEST_F(ConnectionsTest, BusyOnesOfOnePeerLeaveOthersTheirShare) {
  constexpr int kLimit = 7;
  GrpcServerOptions options;
  options.max_connections = kLimit;
  Serve(options);
  for (int i = 0; i < kLimit; ++i) BusyFrom("127.0.0.2");
  Watch other(Stub());
  EXPECT_EQ(other.Next(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(std::ranges::count_if(wires_, Closed), 1);
  EXPECT_TRUE(Closed(wires_.back()));  // the newest
  RawHttp2& beyond = From("127.0.0.2");
  EXPECT_TRUE(beyond.ReadUntil([&] { return beyond.closed(); }));
}

// Else its connections would seem idle, whatever they carry.
TEST_F(ConnectionsTest, CallsAreKnownByEitherKindOfAddress) {
  constexpr int kLimit = 7;
  GrpcServerOptions options;
  options.listen = "[::]:0";
  options.max_connections = kLimit;
  auto server = GrpcServer::Start(options);
  if (!server.ok()) GTEST_SKIP() << "a machine without IPv6: " << server.status();
  server_ = *std::move(server);
  Watch narrow(Stub());
  Watch wide(Stub("[::1]"));
  EXPECT_EQ(narrow.Next(), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(wide.Next(), HealthCheckResponse::NOT_SERVING);
  std::vector<std::unique_ptr<Health::Stub>> idle;
  for (int i = 0; i < 3 * kLimit; ++i) {
    idle.push_back(Stub(i % 2 == 0 ? "127.0.0.1" : "[::1]"));
    EXPECT_TRUE(Probe(*idle.back()).ok());
  }
  server_->SetServing(true);
  EXPECT_EQ(narrow.Next(), HealthCheckResponse::SERVING);
  EXPECT_EQ(wide.Next(), HealthCheckResponse::SERVING);
}

TEST_F(ConnectionsTest, AnIdleOneThatHeedsNoFarewellHoldsNoShutdown) {
  Serve({});
  IdleFrom("127.0.0.2");
  const Clock::TimePoint begin = Clock::Real().Now();
  server_->Shutdown(std::chrono::minutes(10));
  EXPECT_LT(Clock::Real().Now() - begin, std::chrono::minutes(1));
  EXPECT_TRUE(wires_.front().ReadUntil([&] { return wires_.front().closed(); }));
  EXPECT_TRUE(wires_.front().told_to_go());
}

TEST_F(ConnectionsTest, HealthWatchesOfOnePeerLeaveRoomForOthers) {
  Serve({});
  std::vector<std::uint32_t> watches;
  for (int i = 0; i < 2; ++i) {
    RawHttp2& wire = From("127.0.0.2");
    std::vector<std::uint32_t> opened;
    for (int k = 0; k < 600; ++k) opened.push_back(wire.Call("/grpc.health.v1.Health/Watch", ""));
    EXPECT_TRUE(wire.ReadUntil([&] {
      return std::ranges::all_of(opened, [&](std::uint32_t id) {
        return wire.stream(id).over() || !wire.stream(id).data.empty();
      });
    }));
    for (const std::uint32_t id : opened) {
      if (!wire.stream(id).over()) watches.push_back(id);
    }
  }
  EXPECT_EQ(watches.size(), 910U);  // 8 of 9 parts of 1,024
  EXPECT_EQ(Watch(Stub()).Next(), HealthCheckResponse::NOT_SERVING);
}

}  // namespace
}  // namespace thinkwire::rpc
