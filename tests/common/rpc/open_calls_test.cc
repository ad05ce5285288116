#include "common/rpc/open_calls.h"

#include <gtest/gtest.h>
#include <prometheus/registry.h>

#include <algorithm>
#include <deque>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "common/metrics.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/request_id.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"

namespace thinkwire::rpc {
namespace {

constexpr char kWait[] = "/test.Service/Wait";
constexpr char kAnswer[] = "/test.Service/Answer";
constexpr char kStream[] = "/test.Service/Stream";
constexpr char kCheck[] = "/grpc.health.v1.Health/Check";

// Calls that wait until their client gives up, and calls that are answered.
class TestService final : public RawService {
 public:
  TestService() {
    AddMethod("test.Service", "Wait", [](const grpc::CallbackServerContext& /*context*/) {
      return std::make_shared<WaitingCall>();
    });
    AddMethod("test.Service", "Stream", [](const grpc::CallbackServerContext& /*context*/) {
      return std::make_shared<StreamCall>();
    });
    AddMethodOfOneAnswer("test.Service", "Answer",
                         [](const grpc::ByteBuffer& request) { return request; });
  }

 private:
  class WaitingCall final : public ServerCall {
   public:
    WaitingCall() : ServerCall(1) {}

   private:
    void OnMessage(grpc::ByteBuffer /*message*/) override {}
  };
  // Is answered twice.
  class StreamCall final : public ServerCall {
   public:
    StreamCall() : ServerCall(2) {}

   private:
    void OnMessage(grpc::ByteBuffer message) override {
      Write(message);
      Write(message);
      Finish(absl::OkStatus());
    }
  };
};

class OpenCallsTest : public testing::Test {
 protected:
  void Serve(GrpcServerOptions options = {}) {
    options.listen = "127.0.0.1:0";
    options.services = {&service_};
    options.metrics = &metrics_;
    server_ = *GrpcServer::Start(options);
  }

  RawHttp2::Options From(const std::string& source) const {
    return {.port = server_->port(), .source = source};
  }

  static absl::Status End(RawHttp2& client, std::uint32_t call) {
    EXPECT_TRUE(client.ReadUntilOver(call));
    return client.stream(call).Status();
  }

  // The call's name, if both its beginning and its end tell the same.
  static std::string NameOf(RawHttp2& client, std::uint32_t call) {
    for (const auto& [key, value] : client.stream(call).headers) {
      if (key != kRequestIdMetadata) continue;
      EXPECT_EQ(value, ErrorMetadata(client.stream(call).Status(), kRequestIdOfError));
      return value;
    }
    return "";
  }

  double Metric(const std::string& name) {
    for (const prometheus::MetricFamily& family : metrics_.registry().Collect()) {
      if (family.name != "test_" + name) continue;
      const prometheus::ClientMetric& metric = family.metric.front();
      return family.type == prometheus::MetricType::Counter ? metric.counter.value
                                                            : metric.gauge.value;
    }
    ADD_FAILURE() << name << " is not there";
    return -1;
  }
  void WaitForMetric(const std::string& name, double number) {
    while (Metric(name) != number) std::this_thread::yield();
  }
  void WaitForOpenCalls(double number) { WaitForMetric("open_calls", number); }

  Metrics metrics_{"test"};
  TestService service_;
  std::unique_ptr<GrpcServer> server_;
};

TEST_F(OpenCallsTest, CountsCallsFromTheirHeadersToTheirEnd) {
  Serve();
  RawHttp2 client(From("127.0.0.1"));
  const std::uint32_t half_open = client.OpenCall(kWait);
  client.Call(kWait, "");
  WaitForOpenCalls(2);
  EXPECT_TRUE(End(client, client.Call(kAnswer, "x")).ok());
  WaitForOpenCalls(2);
  client.Reset(half_open);
  WaitForOpenCalls(1);
}

TEST_F(OpenCallsTest, EveryClientHasItsShare) {
  GrpcServerOptions options;
  options.max_calls = 90;
  Serve(options);
  RawHttp2 greedy(From("127.0.0.2"));
  std::vector<std::uint32_t> calls;
  for (int i = 0; i < 100; ++i) calls.push_back(greedy.OpenCall(kWait));
  std::vector<std::uint32_t> refused;
  const auto sort_out = [&] {
    refused.clear();
    std::ranges::copy_if(calls, std::back_inserter(refused),
                         [&](std::uint32_t call) { return greedy.stream(call).over(); });
    return refused.size() == 20;  // 8 of 9 parts are its share
  };
  ASSERT_TRUE(greedy.ReadUntil(sort_out));
  for (const std::uint32_t call : refused) {
    std::erase(calls, call);
    const absl::Status end = End(greedy, call);
    EXPECT_EQ(end.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ErrorReason(end), "TOO_MANY_CALLS");
    EXPECT_TRUE(RetryAfter(end));
    EXPECT_EQ(NameOf(greedy, call).size(), 32U) << "it is found in the log";
  }
  EXPECT_EQ(Metric("refused_calls_total"), 20);
  RawHttp2 other(From("127.0.0.3"));
  EXPECT_TRUE(End(other, other.Call(kAnswer, "x")).ok());
  greedy.Reset(calls[0]);
  WaitForOpenCalls(79);
  const std::uint32_t again = greedy.Call(kAnswer, "x");
  EXPECT_TRUE(End(greedy, again).ok());
}

TEST_F(OpenCallsTest, AConnectionThatDoesNothingButResetIsClosed) {
  Serve();
  RawHttp2 honest(From("127.0.0.2"));
  const std::uint32_t running = honest.Call(kWait, "");
  RawHttp2 flood(From("127.0.0.2"));
  for (int i = 0; i < 4 * static_cast<int>(ResetCounts::kTolerated) && !flood.closed(); ++i) {
    flood.Reset(flood.Call(kWait, "x"));
  }
  flood.ReadUntil([&] { return flood.closed(); });
  EXPECT_TRUE(flood.closed());
  WaitForMetric("closed_connections_total", 1);
  EXPECT_TRUE(End(honest, honest.Call(kAnswer, "x")).ok());
  EXPECT_FALSE(honest.stream(running).over());
  WaitForOpenCalls(1);
}

TEST_F(OpenCallsTest, CheapCallsBesideItsResetsSaveNoConnection) {
  Serve();
  RawHttp2 flood(From("127.0.0.2"));
  const std::vector<const char*> cheap = {kCheck, kAnswer, "/test.Service/Unknown"};
  std::size_t resets = 0;
  for (; resets < 4 * ResetCounts::kTolerated && !flood.closed(); ++resets) {
    flood.ReadUntilOver(flood.Call(cheap[resets % cheap.size()], ""));
    flood.Reset(flood.Call(kWait, "x"));
  }
  EXPECT_TRUE(flood.closed());
  WaitForMetric("closed_connections_total", 1);
}

TEST_F(OpenCallsTest, CallsThatEndWithoutAMessageAreResets) {
  Serve();
  RawHttp2 flood(From("127.0.0.2"));
  for (int i = 0; i < 2 * static_cast<int>(ResetCounts::kTolerated) && !flood.closed(); ++i) {
    flood.SendData(flood.OpenCall(kWait), "", /*end=*/true);
  }
  EXPECT_FALSE(flood.ReadUntil([] { return false; }));
  EXPECT_TRUE(flood.closed());
}

TEST_F(OpenCallsTest, AConnectionOfManyIsNotClosedForItsUsers) {
  GrpcServerOptions options;
  options.trusted_peers = *TrustedPeers::Parse("127.0.0.2");
  options.forwarders = *TrustedPeers::Parse("127.0.0.3");
  Serve(options);
  for (const char* const who : {"127.0.0.2", "127.0.0.3"}) {
    RawHttp2 gateway(From(who));
    for (int i = 0; i < 2 * static_cast<int>(ResetCounts::kTolerated); ++i) {
      gateway.Reset(gateway.Call(kWait, "x"));
    }
    EXPECT_TRUE(End(gateway, gateway.Call(kAnswer, "x")).ok());
    WaitForOpenCalls(0);
    EXPECT_FALSE(gateway.closed());
  }
}

TEST_F(OpenCallsTest, SomeWhoChangeTheirMindsAreNoFlood) {
  Serve();
  RawHttp2 client(From("127.0.0.2"));
  for (int i = 0; i < static_cast<int>(1.2 * ResetCounts::kTolerated); ++i) {
    ASSERT_TRUE(End(client, client.Call(kStream, "x")).ok());
    client.Reset(client.OpenCall(kWait));
  }
  WaitForOpenCalls(0);
  EXPECT_FALSE(client.closed());
  EXPECT_EQ(Metric("closed_connections_total"), 0);
}

TEST_F(OpenCallsTest, AConnectionHasItsLimitUnlessItSpeaksForOthers) {
  GrpcServerOptions options;
  options.max_streams = 2 * kMaxStreamsOfConnection;
  options.forwarders = *TrustedPeers::Parse("127.0.0.3");
  Serve(options);
  RawHttp2 client(From("127.0.0.2"));
  RawHttp2 forwarder(From("127.0.0.3"));
  for (int i = 0; i < kMaxStreamsOfConnection; ++i) {
    client.OpenCall(kWait);
    forwarder.OpenCall(kWait);
  }
  WaitForOpenCalls(2 * kMaxStreamsOfConnection);
  const absl::Status refused = End(client, client.Call(kAnswer, "x"));
  EXPECT_EQ(ErrorReason(refused), "TOO_MANY_CALLS");
  EXPECT_TRUE(RetryAfter(refused));
  EXPECT_TRUE(End(forwarder, forwarder.Call(kAnswer, "x")).ok());
  RawHttp2 another(From("127.0.0.2"));  // of connections, not of clients
  EXPECT_TRUE(End(another, another.Call(kAnswer, "x")).ok());
}

TEST_F(OpenCallsTest, OthersTakeNoneOfTheTrustedPeersPlaces) {
  GrpcServerOptions options;
  options.max_calls = 1;
  options.trusted_peers = *TrustedPeers::Parse("127.0.0.3");
  Serve(options);
  RawHttp2 client(From("127.0.0.2"));
  client.OpenCall(kWait);
  WaitForOpenCalls(1);
  EXPECT_EQ(ErrorReason(End(client, client.Call(kAnswer, "x"))), "TOO_MANY_CALLS");
  RawHttp2 trusted(From("127.0.0.3"));
  EXPECT_TRUE(End(trusted, trusted.Call(kAnswer, "x")).ok());
}

TEST_F(OpenCallsTest, WhoDoesNotReadThatHeIsRefusedLosesHisConnections) {
  GrpcServerOptions options;
  options.max_calls = 1;
  Serve(options);
  RawHttp2 holder(From("127.0.0.2"));
  holder.OpenCall(kWait);
  WaitForOpenCalls(1);
  RawHttp2 honest(From("127.0.0.3"));
  EXPECT_EQ(ErrorReason(End(honest, honest.Call(kAnswer, "x"))), "TOO_MANY_CALLS");
  std::deque<RawHttp2> flood;
  while (Metric("closed_connections_total") == 0) {
    ASSERT_LT(flood.size(), 20U);
    RawHttp2::Options unread = From("127.0.0.2");
    unread.receive_buffer_bytes = 1024;
    RawHttp2& client = flood.emplace_back(unread);
    for (int i = 0; i < kMaxStreamsOfConnection && !client.closed(); ++i) client.OpenCall(kWait);
    // While the server keeps up.
    RawHttp2 last(From("127.0.0.2"));
    EXPECT_EQ(ErrorReason(End(last, last.Call(kAnswer, "x"))), "TOO_MANY_CALLS");
  }
  // Those of four are the limit; who reads has one for a moment too.
  EXPECT_GE(flood.size(), kMaxRefusedCalls / kMaxStreamsOfConnection);
  while (Metric("open_calls") > static_cast<double>(kMaxRefusedCalls) + 1) {
    std::this_thread::yield();
  }
  EXPECT_EQ(ErrorReason(End(honest, honest.Call(kAnswer, "x"))), "TOO_MANY_CALLS");
  EXPECT_FALSE(honest.closed());
  holder.Read(Clock::Duration::zero());
  EXPECT_FALSE(holder.closed());
}

TEST_F(OpenCallsTest, WhoReadsIsRefusedAsOftenAsHeAsks) {
  GrpcServerOptions options;
  options.max_calls = 1;
  Serve(options);
  RawHttp2 holder(From("127.0.0.3"));
  holder.OpenCall(kWait);
  WaitForOpenCalls(1);
  RawHttp2 client(From("127.0.0.2"));
  constexpr int kAtOnce = 500;
  for (std::size_t asked = 0; asked < 2 * kMaxRefusedCalls; asked += kAtOnce) {
    std::vector<std::uint32_t> calls;
    for (int i = 0; i < kAtOnce; ++i) calls.push_back(client.Call(kAnswer, "x"));
    for (const std::uint32_t call : calls) {
      ASSERT_EQ(ErrorReason(End(client, call)), "TOO_MANY_CALLS");
      client.Forget(call);
    }
  }
  EXPECT_EQ(Metric("closed_connections_total"), 0);
}

}  // namespace
}  // namespace thinkwire::rpc
