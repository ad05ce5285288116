#include "common/rpc/server_call.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "tests/common/rpc/server_call_testing.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

// A call of a gRPC client.
class ServerCallTest : public testing::Test {
 protected:
  ServerCallTest() {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    reader_ = stub_->WatchStatus(&context_, v1::WatchStatusRequest());
    call_ = service_.first.get_future().get();
    call_->message.get_future().wait();
  }

  CallService service_;
  const std::unique_ptr<GrpcServer> server_ =
      *GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&service_}});
  const std::unique_ptr<v1::WorkerService::Stub> stub_ =
      v1::WorkerService::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", server_->port())));
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<v1::WatchStatusResponse>> reader_;
  std::shared_ptr<TestCall> call_;
};

TEST_F(ServerCallTest, SendsInOrderThenTheStatus) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(call_->Write(Message(i)));
  call_->Finish(absl::NotFoundError("the end"));
  call_->Finish(absl::InternalError("too late"));
  EXPECT_FALSE(call_->Write(Message(9)));
  EXPECT_EQ(call_->room(), 0u);
  v1::WatchStatusResponse message;
  int last = -1;
  while (reader_->Read(&message)) {
    EXPECT_EQ(message.queued(), last + 1);
    last = message.queued();
  }
  const grpc::Status status = reader_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "the end");
  call_->ended.get_future().wait();
}

TEST_F(ServerCallTest, SendsTrailingMetadataWithTheStatus) {
  call_->AddTrailingMetadata("tokens-so-far", "17");
  call_->Finish(absl::UnavailableError("lost"));
  EXPECT_EQ(reader_->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  const auto& trailers = context_.GetServerTrailingMetadata();
  const auto found = trailers.find("tokens-so-far");
  ASSERT_NE(found, trailers.end());
  EXPECT_EQ(found->second, "17");
  call_->AddTrailingMetadata("too", "late");
}

TEST_F(ServerCallTest, ASlowReaderFillsItAndDrainsIt) {
  // gRPC itself buffers some megabytes on loopback, so messages are big.
  int sent = 0;
  while (call_->Write(Message(sent, 1 << 20))) {
    ++sent;
    ASSERT_LT(sent, 1000) << "nothing bounds the stream";
  }
  EXPECT_GE(sent, 1);
  v1::WatchStatusResponse message;
  for (int i = 0; i < sent; ++i) {
    ASSERT_TRUE(reader_->Read(&message));
    EXPECT_EQ(message.queued(), i);
  }
  call_->drained.get_future().wait();
  EXPECT_GE(call_->room(), kCapacity / 2);
  EXPECT_TRUE(call_->Write(Message(sent)));
  call_->Finish(absl::OkStatus());
  ASSERT_TRUE(reader_->Read(&message));
  EXPECT_EQ(message.queued(), sent);
  EXPECT_FALSE(reader_->Read(&message));
  EXPECT_TRUE(reader_->Finish().ok());
}

TEST_F(ServerCallTest, TellsOfACancelAndEnds) {
  context_.TryCancel();
  call_->cancelled.get_future().wait();
  call_->ended.get_future().wait();
  EXPECT_FALSE(call_->Write(Message(0)));
  call_->Finish(absl::OkStatus());
  EXPECT_EQ(reader_->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

// Calls that write a message and wait for their cancel.
class OneMessageService final : public RawService {
 public:
  OneMessageService() {
    AddMethod(v1::WorkerService::service_full_name(), "WatchStatus",
              [this](const grpc::CallbackServerContext& /*context*/) {
                return std::make_shared<Call>(*this);
              });
  }
  std::atomic<int> num_cancelled = 0;
  std::atomic<int> num_ended = 0;

 private:
  class Call final : public ServerCall {
   public:
    explicit Call(OneMessageService& service) : ServerCall(kCapacity), service_(service) {}

   private:
    void OnMessage(grpc::ByteBuffer /*bytes*/) override { Write(Message(0)); }
    void OnCancelled() override { ++service_.num_cancelled; }
    void OnEnded() override { ++service_.num_ended; }
    OneMessageService& service_;
  };
};

// A server that gives calls up does so from a thread of its own, beside gRPC's that end them.
TEST(ServerCallShutdownTest, TellsEveryCallThatItIsGivenUp) {
  constexpr int kRounds = 20;
  constexpr int kCalls = 50;
  for (int round = 0; round < kRounds; ++round) {
    OneMessageService service;
    auto server = *GrpcServer::Start({.listen = "127.0.0.1:0", .services = {&service}});
    const auto stub =
        v1::WorkerService::NewStub(MakeChannel(absl::StrCat("127.0.0.1:", server->port())));
    std::vector<grpc::ClientContext> contexts(kCalls);
    std::vector<std::unique_ptr<grpc::ClientReader<v1::WatchStatusResponse>>> readers;
    for (grpc::ClientContext& context : contexts) {
      readers.push_back(stub->WatchStatus(&context, v1::WatchStatusRequest()));
      v1::WatchStatusResponse message;
      ASSERT_TRUE(readers.back()->Read(&message));
    }
    server->Shutdown(std::chrono::seconds(0));
    server.reset();  // every call has ended
    EXPECT_EQ(service.num_ended, kCalls);
    EXPECT_EQ(service.num_cancelled, kCalls);
    for (const auto& reader : readers) EXPECT_FALSE(reader->Finish().ok());
  }
}

TEST_F(RawServerCallTest, ExistsBeforeItsMessage) {
  Start();
  const std::uint32_t id = client_->OpenCall(kWatch);
  const auto call = TheCall();
  auto message = call->message.get_future();
  EXPECT_EQ(call->num_hooks, 0);
  client_->SendData(id, RawHttp2::GrpcMessage("hello"), /*end=*/true);
  EXPECT_EQ(message.get(), "hello");
  ASSERT_TRUE(call->Write(Message(7)));
  call->Finish(absl::OkStatus());
  EXPECT_TRUE(End(id).ok());
  EXPECT_EQ(client_->stream(id).Messages(), (std::vector{Message(7).SerializeAsString()}));
  call->ended.get_future().wait();
}

TEST_F(RawServerCallTest, AMessageOfManyFramesIsOne) {
  Start();
  const std::uint32_t id = client_->OpenCall(kWatch);
  const std::string text(300'000, 'x');
  const std::string framed = RawHttp2::GrpcMessage(text);
  for (std::size_t at = 0; at < framed.size(); at += 1000) {
    client_->SendData(id, std::string_view(framed).substr(at, 1000), /*end=*/false);
  }
  const auto call = TheCall();
  EXPECT_EQ(call->message.get_future().get(), text);
  call->Finish(absl::OkStatus());  // the client's side is still open
  EXPECT_TRUE(End(id).ok());
  call->ended.get_future().wait();
}

TEST_F(RawServerCallTest, NoMessageIsAnError) {
  Start();
  const std::uint32_t id = client_->OpenCall(kWatch);
  client_->SendData(id, "", /*end=*/true);
  ExpectEnd(id, absl::StatusCode::kInvalidArgument, "NO_MESSAGE");
  const auto call = TheCall();
  EXPECT_EQ(call->refused.get_future().get().code(), absl::StatusCode::kInvalidArgument);
  call->ended.get_future().wait();
  EXPECT_EQ(call->num_hooks, 1);
}

TEST_F(RawServerCallTest, ASecondMessageIsAnError) {
  Start();
  const std::uint32_t id = client_->OpenCall(kWatch);
  client_->SendData(id, RawHttp2::GrpcMessage("one") + RawHttp2::GrpcMessage("two"), false);
  ExpectEnd(id, absl::StatusCode::kInvalidArgument, "TOO_MANY_MESSAGES");
  const auto call = TheCall();
  EXPECT_EQ(call->message.get_future().get(), "one");
  call->cancelled.get_future().wait();
  call->ended.get_future().wait();
}

TEST_F(RawServerCallTest, ACancelBeforeTheMessageIsACancel) {
  Start();
  const std::uint32_t id = client_->OpenCall(kWatch);
  const auto call = TheCall();
  client_->Reset(id);
  EXPECT_EQ(call->refused.get_future().get().code(), absl::StatusCode::kCancelled);
  call->ended.get_future().wait();
  EXPECT_EQ(call->num_hooks, 1);
}

TEST_F(RawServerCallTest, AResetRightBehindTheMessageIsACancel) {
  Start();
  client_->Reset(client_->Call(kWatch, "x"));
  const auto call = TheCall();
  call->ended.get_future().wait();
  // Whether the message came before the reset is up to gRPC.
  auto refused = call->refused.get_future();
  if (refused.wait_for(std::chrono::seconds(0)) == std::future_status::ready) {
    EXPECT_EQ(refused.get().code(), absl::StatusCode::kCancelled);
  } else {
    call->cancelled.get_future().wait();
  }
}

TEST_F(RawServerCallTest, ADeadlineBeforeTheMessageIsADeadline) {
  Start();
  client_->OpenCall(kWatch, {{"grpc-timeout", "100m"}});
  const auto call = TheCall();
  EXPECT_EQ(call->refused.get_future().get().code(), absl::StatusCode::kDeadlineExceeded);
  call->ended.get_future().wait();
}

TEST_F(RawServerCallTest, ALostConnectionBeforeTheMessageIsACancel) {
  Start();
  client_->OpenCall(kWatch);
  const auto call = TheCall();
  client_.reset();
  EXPECT_EQ(call->refused.get_future().get().code(), absl::StatusCode::kCancelled);
  call->ended.get_future().wait();
}

TEST_F(RawServerCallTest, AMessageThatDoesNotComeIsNotWaitedForForEver) {
  options_.message_timeout = std::chrono::milliseconds(200);
  Start();
  const std::uint32_t half_open = client_->OpenCall(kWatch);
  client_->SendData(half_open, RawHttp2::GrpcMessage("hello").substr(0, 7), /*end=*/false);
  ExpectEnd(half_open, absl::StatusCode::kDeadlineExceeded, "MESSAGE_TIMEOUT");
  const auto call = TheCall();
  call->ended.get_future().wait();
  EXPECT_EQ(call->num_hooks, 1);
}

TEST_F(RawServerCallTest, LargeMessagesAreRefusedWithAReason) {
  options_.max_message_bytes = 1000;
  Start();
  const std::uint32_t fits = client_->Call(kWatch, std::string(1000, 'x'));
  EXPECT_EQ(TheCall()->message.get_future().get().size(), 1000u);
  client_->Reset(fits);
  ExpectEnd(client_->Call(kWatch, std::string(1001, 'x')), absl::StatusCode::kResourceExhausted,
            "MESSAGE_TOO_LARGE");
}

TEST_F(RawServerCallTest, LargeMetadataAreRefusedWithTheLimit) {
  options_.max_metadata_bytes = 12'000;
  Start();
  // More than gRPC takes by itself.
  client_->Reset(
      client_->OpenCall(kWatch, {{"x-forwarded-client-cert", std::string(11'000, 'c')}}));
  TheCall();
  const std::uint32_t id =
      client_->OpenCall(kWatch, {{"x-forwarded-client-cert", std::string(13'000, 'c')}});
  ExpectEnd(id, absl::StatusCode::kResourceExhausted, "METADATA_TOO_LARGE");
  EXPECT_NE(End(id).message().find("of at most 12000"), absl::string_view::npos) << End(id);
}

// "Hello" by gzip: valid, and of no use to anybody who bounds what a message becomes.
constexpr unsigned char kGzipped[] = {0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                                      0x03, 0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x82,
                                      0x89, 0xd1, 0xf7, 0x05, 0x00, 0x00, 0x00};

TEST_F(RawServerCallTest, MessagesThatInflateAreRefused) {
  Start();
  std::string framed =
      RawHttp2::GrpcMessage({reinterpret_cast<const char*>(kGzipped), sizeof(kGzipped)});
  framed.front() = 1;  // compressed
  const std::uint32_t call = client_->OpenCall(kWatch, {{"grpc-encoding", "gzip"}});
  client_->SendData(call, framed, /*end=*/true);
  EXPECT_EQ(End(call).code(), absl::StatusCode::kUnimplemented);
}

TEST_F(RawServerCallTest, UnknownMethodsAreRefusedWithAReason) {
  Start();
  for (const char* path :
       {"/thinkwire.v1.WorkerService/Other", "/other.Service/WatchStatus", "/x"}) {
    ExpectEnd(client_->Call(path, "x"), absl::StatusCode::kUnimplemented, "UNKNOWN_METHOD");
    ExpectEnd(client_->OpenCall(path), absl::StatusCode::kUnimplemented, "UNKNOWN_METHOD");
  }
}

}  // namespace
}  // namespace thinkwire::rpc
