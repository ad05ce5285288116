// What a stream may have on its way to a reader that takes nothing.

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <optional>
#include <string>

#include "common/peer_limits.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/server_call.h"
#include "tests/fakes/raw_http2.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

class Stream final : public ServerCall {
 public:
  Stream() : ServerCall(100'000) {}  // any number of messages
  std::promise<void> begun;

 private:
  void OnMessage(grpc::ByteBuffer /*bytes*/) override { begun.set_value(); }
};

// Hands its one call to the test.
class StreamService final : public RawService {
 public:
  StreamService() {
    AddMethod(v1::WorkerService::service_full_name(), "WatchStatus",
              [this](const grpc::CallbackServerContext& /*context*/) {
                auto call = std::make_shared<Stream>();
                made.set_value(call);
                return call;
              });
  }
  std::promise<std::shared_ptr<Stream>> made;
};

class QueuedBytesTest : public testing::Test {
 protected:
  QueuedBytesTest() { stream_->begun.get_future().wait(); }

  // How many messages of so many bytes it takes.
  int Fill(std::size_t bytes) {
    v1::WatchStatusResponse message;
    message.set_fingerprint(std::string(bytes, 'x'));
    int taken = 0;
    while (taken < 10'000 && stream_->Write(message)) ++taken;
    return taken;
  }

  StreamService service_;
  const std::unique_ptr<GrpcServer> server_ =
      *GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&service_}});
  RawHttp2 client_{{.port = server_->port(), .window = 0}};
  const std::uint32_t id_ = client_.Call("/thinkwire.v1.WorkerService/WatchStatus", "");
  const std::shared_ptr<Stream> stream_ = service_.made.get_future().get();
};

TEST_F(QueuedBytesTest, ManyMessagesAreBoundedByTheirBytes) {
  constexpr std::size_t kBytes = 8 << 10;
  const int taken = Fill(kBytes);
  EXPECT_GT(taken, 8);
  EXPECT_LE(static_cast<std::size_t>(taken), kMaxQueuedBytes / kBytes + 1);
}

TEST_F(QueuedBytesTest, OneOfAnySizeIsOnItsWay) { EXPECT_EQ(Fill(4 * kMaxQueuedBytes), 1); }

}  // namespace
}  // namespace thinkwire::rpc
