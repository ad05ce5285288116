// Who may watch a worker's status when many do, over real sockets.

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "tests/worker/serve/byte_tokenizer.h"
#include "tests/worker/serve/service_fixture.h"
#include "worker/serve/service.h"
#include "worker/serve/status_board.h"

namespace thinkwire::worker::serve {
namespace {

constexpr int kAlone = 227;  // of 256: what one peer may have, Shares

// One connection with many watches.
class Watches {
 public:
  Watches(int port, const std::string& source) : wire_({.port = port, .source = source}) {}

  // Opens so many more and waits until each has its first status, or is refused.
  void Open(int count) {
    std::vector<std::uint32_t> opened;
    for (int i = 0; i < count; ++i) {
      opened.push_back(wire_.Call("/thinkwire.v1.WorkerService/WatchStatus", ""));
    }
    EXPECT_TRUE(wire_.ReadUntil(
        [&] { return std::ranges::all_of(opened, [this](auto id) { return IsAnswered(id); }); }));
    streams_.insert(streams_.end(), opened.begin(), opened.end());
  }

  void CancelAll() {
    for (const std::uint32_t id : streams_) wire_.Reset(id);
    streams_.clear();
  }

  int running() {
    return static_cast<int>(
        std::ranges::count_if(streams_, [this](auto id) { return !wire_.stream(id).over(); }));
  }

  // Every one that has ended was refused for its peer's share.
  void ExpectRefusals() {
    for (const std::uint32_t id : streams_) {
      const RawHttp2::Stream& stream = wire_.stream(id);
      if (stream.over()) {
        EXPECT_EQ(rpc::ErrorReason(stream.Status()), "TOO_MANY_WATCHES");
      }
    }
  }

 private:
  bool IsAnswered(std::uint32_t id) {
    return wire_.stream(id).over() || !wire_.stream(id).data.empty();
  }

  RawHttp2 wire_;
  std::vector<std::uint32_t> streams_;
};

class WatchesTest : public testing::Test {
 protected:
  void Serve(const std::string& trusted_peers = "") {
    const auto trusted = rpc::TrustedPeers::Parse(trusted_peers);
    ASSERT_TRUE(trusted.ok()) << trusted.status();
    worker_ = std::make_unique<FakeWorker>(engine::FakeModel(kVocabulary));
    board_ = std::make_unique<StatusBoard>(worker_->engine, worker_->model, worker_->worker_metrics,
                                           *trusted, worker_->clock);
    service_ = std::make_unique<WorkerService>(worker_->shared(), worker_->reader, *board_,
                                               WorkerService::Peers());
    auto server = rpc::GrpcServer::Start({.listen = "127.0.0.1:0",
                                          .services = {service_.get()},
                                          .health_names = {},
                                          .trusted_peers = *trusted});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  void TearDown() override {
    worker_->engine.Stop();
    board_->Stop();
    server_->Shutdown(std::chrono::seconds(1));
    worker_->pool.Stop();
  }

  Watches& From(const std::string& source) {
    return watches_.emplace_back(server_->port(), source);
  }

  // Whether a router, which is at 127.0.0.1, learns of the worker.
  bool RouterWatches() const {
    const auto stub = v1::WorkerService::NewStub(grpc::CreateChannel(
        absl::StrCat("127.0.0.1:", server_->port()), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    const auto stream = stub->WatchStatus(&context, {});
    v1::WatchStatusResponse status;
    const bool watches = stream->Read(&status);
    context.TryCancel();
    stream->Finish();
    return watches;
  }

  std::unique_ptr<FakeWorker> worker_;
  std::unique_ptr<StatusBoard> board_;
  std::unique_ptr<WorkerService> service_;
  std::unique_ptr<rpc::GrpcServer> server_;
  std::deque<Watches> watches_;
};

TEST_F(WatchesTest, OnePeersWatchesLeaveRoomForARouters) {
  Serve();
  Watches& first = From("127.0.0.2");
  Watches& second = From("127.0.0.2");  // the same peer
  first.Open(200);
  second.Open(200);
  EXPECT_EQ(first.running() + second.running(), kAlone);
  first.ExpectRefusals();
  second.ExpectRefusals();
  EXPECT_TRUE(RouterWatches());
}

TEST_F(WatchesTest, ThoseOfManyPeersLeaveRoomForATrustedRouters) {
  Serve("127.0.0.1");
  int running = 0;
  for (int host = 2; host < 42; ++host) {
    Watches& watches = From(absl::StrCat("127.0.0.", host));
    watches.Open(host == 2 ? 240 : 30);
    running += watches.running();
  }
  EXPECT_EQ(running, 256);
  EXPECT_TRUE(RouterWatches());
}

TEST_F(WatchesTest, WhatIsCancelledIsFree) {
  Serve();
  Watches& watches = From("127.0.0.2");
  watches.Open(240);
  EXPECT_EQ(watches.running(), kAlone);
  watches.CancelAll();
  while (watches.running() < kAlone) {
    watches.Open(kAlone - watches.running());  // as soon as the worker has heard of the cancels
  }
}

}  // namespace
}  // namespace thinkwire::worker::serve
