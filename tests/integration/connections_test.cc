// One client that holds as many connections and watches as it can get keeps nobody else out.

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <deque>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/listener.h"
#include "common/rpc/status_details.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/fakes/raw_http2.h"
#include "tests/integration/router_process.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {
namespace {

constexpr int kConnections = 1024;  // the default of --max_connections
constexpr int kWatches = 256;       // that a worker serves
constexpr char kGreedy[] = "127.0.0.2";

using Wires = std::deque<RawHttp2>;

void HoldConnections(Wires& wires, int port) {
  for (int i = 0; i < kConnections; ++i) {
    RawHttp2& wire = wires.emplace_back(RawHttp2::Options{.port = port, .source = kGreedy});
    EXPECT_TRUE(wire.ReadUntil([&] { return wire.max_streams() > 0; }));
  }
}

// More than there are.
void HoldWatches(RawHttp2& wire) {
  std::vector<std::uint32_t> watches;
  for (int i = 0; i < 2 * kWatches; ++i) {
    watches.push_back(wire.Call("/thinkwire.v1.WorkerService/WatchStatus", ""));
  }
  EXPECT_TRUE(wire.ReadUntil([&] {
    return std::ranges::all_of(watches, [&](std::uint32_t id) {
      return wire.stream(id).over() || !wire.stream(id).data.empty();
    });
  }));
}

// By a new connection, without a second try.
grpc::Status Probe(int port) {
  const auto stub =
      grpc::health::v1::Health::NewStub(rpc::MakeChannel(absl::StrCat("127.0.0.1:", port)));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  grpc::health::v1::HealthCheckResponse response;
  return stub->Check(&context, {}, &response);
}

absl::Status Ask(const std::string& router) {
  const auto stub = v1::ReasoningService::NewStub(rpc::MakeChannel(router));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kPatience);
  const auto reader = stub->Generate(&context, AskGreedily("What is 27+48?"));
  v1::GenerateResponse event;
  while (reader->Read(&event)) {
  }
  return rpc::FromGrpc(reader->Finish());
}

TEST(ConnectionsOfOneClientTest, KeepNeitherRouterNorClientNorProbeOut) {
  if (rpc::MakeRoomForConnections(2 * kConnections) < 2 * kConnections) {
    GTEST_SKIP() << "too few files for so many connections";
  }
  WorkerProcess worker({absl::StrCat("--model=", kTinyModel)});
  ASSERT_TRUE(worker.listening());
  Wires to_worker;
  HoldConnections(to_worker, worker.port());
  HoldWatches(to_worker.back());
  EXPECT_TRUE(Probe(worker.port()).ok());

  RouterProcess router("tiny-r1", absl::StrCat("127.0.0.1:", worker.port()));
  Wires to_router;
  HoldConnections(to_router, router.port());
  EXPECT_TRUE(Probe(router.port()).ok());
  EXPECT_TRUE(Ask(router.address()).ok());
  EXPECT_GT(router.Metric("thinkwire_router_displaced_connections_total"), 0.0);
  EXPECT_EQ(router.Metric("thinkwire_router_refused_connections_total"), 0.0);

  router.process().Signal(SIGTERM);
  worker.process().Signal(SIGTERM);
  EXPECT_EQ(router.process().Wait(), 0);
  EXPECT_EQ(worker.process().Wait(), 0);
}

}  // namespace
}  // namespace thinkwire::integration
