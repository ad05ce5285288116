#include "common/rpc/stream_writer.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kCapacity = 4;

class TestStream final : public StreamWriter {
 public:
  TestStream() : StreamWriter(kCapacity) {}
  std::promise<void> drained, cancelled, ended;

 private:
  void OnDrained() override {
    if (!was_drained_.exchange(true)) drained.set_value();
  }
  void OnCancelled() override { cancelled.set_value(); }
  void OnEnded() override { ended.set_value(); }
  std::atomic<bool> was_drained_ = false;
};

// Hands each WatchStatus call's stream to the test.
class StreamService final
    : public v1::WorkerService::WithRawCallbackMethod_WatchStatus<v1::WorkerService::Service> {
 public:
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchStatus(grpc::CallbackServerContext*,
                                                          const grpc::ByteBuffer*) override {
    auto stream = std::make_shared<TestStream>();
    streams.set_value(stream);
    return StreamWriter::Launch(stream);
  }
  std::promise<std::shared_ptr<TestStream>> streams;
};

class StreamWriterTest : public testing::Test {
 protected:
  StreamWriterTest() {
    GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    options.services = {&service_};
    server_ = *GrpcServer::Start(options);
    stub_ = v1::WorkerService::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", server_->port())));
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    reader_ = stub_->WatchStatus(&context_, v1::WatchStatusRequest());
    stream_ = service_.streams.get_future().get();
  }

  static v1::WatchStatusResponse Message(int number, std::size_t padding = 0) {
    v1::WatchStatusResponse message;
    message.set_queued(number);
    message.set_fingerprint(std::string(padding, 'x'));
    return message;
  }

  StreamService service_;
  std::unique_ptr<GrpcServer> server_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchStatusResponse>> reader_;
  std::shared_ptr<TestStream> stream_;
};

TEST_F(StreamWriterTest, SendsInOrderThenTheStatus) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(stream_->Write(Message(i)));
  stream_->Finish(absl::NotFoundError("the end"));
  stream_->Finish(absl::InternalError("too late"));
  EXPECT_FALSE(stream_->Write(Message(9)));
  EXPECT_EQ(stream_->room(), 0u);
  v1::WatchStatusResponse message;
  int last = -1;
  while (reader_->Read(&message)) {
    EXPECT_EQ(message.queued(), last + 1);
    last = message.queued();
  }
  const grpc::Status status = reader_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "the end");
  stream_->ended.get_future().wait();
}

TEST_F(StreamWriterTest, ASlowReaderFillsItAndDrainsIt) {
  // gRPC itself buffers some megabytes on loopback, so messages are big.
  int sent = 0;
  while (stream_->Write(Message(sent, 1 << 20))) {
    ++sent;
    ASSERT_LT(sent, 1000) << "nothing bounds the stream";
  }
  EXPECT_GE(sent, static_cast<int>(kCapacity));
  EXPECT_EQ(stream_->room(), 0u);
  v1::WatchStatusResponse message;
  for (int i = 0; i < sent; ++i) {
    ASSERT_TRUE(reader_->Read(&message));
    EXPECT_EQ(message.queued(), i);
  }
  stream_->drained.get_future().wait();
  EXPECT_GE(stream_->room(), kCapacity / 2);
  EXPECT_TRUE(stream_->Write(Message(sent)));
  stream_->Finish(absl::OkStatus());
  ASSERT_TRUE(reader_->Read(&message));
  EXPECT_EQ(message.queued(), sent);
  EXPECT_FALSE(reader_->Read(&message));
  EXPECT_TRUE(reader_->Finish().ok());
}

TEST_F(StreamWriterTest, TellsOfACancelAndEnds) {
  context_.TryCancel();
  stream_->cancelled.get_future().wait();
  stream_->ended.get_future().wait();
  EXPECT_FALSE(stream_->Write(Message(0)));
  stream_->Finish(absl::OkStatus());
  EXPECT_EQ(reader_->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

}  // namespace
}  // namespace thinkwire::rpc
