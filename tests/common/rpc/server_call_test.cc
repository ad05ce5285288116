#include "common/rpc/server_call.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/rpc/channel.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/raw_service.h"
#include "common/rpc/status_details.h"
#include "tests/fakes/raw_http2.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kCapacity = 4;
constexpr char kWatch[] = "/thinkwire.v1.WorkerService/WatchStatus";

class TestCall final : public ServerCall {
 public:
  TestCall() : ServerCall(kCapacity) {}
  std::promise<std::string> message;
  std::promise<absl::Status> refused;
  std::promise<void> drained, cancelled, ended;
  std::atomic<int> num_hooks = 0;  // of those that come once

 private:
  void OnMessage(grpc::ByteBuffer bytes) override {
    ++num_hooks;
    grpc::Slice slice;
    EXPECT_TRUE(bytes.TrySingleSlice(&slice).ok() || bytes.DumpToSingleSlice(&slice).ok());
    message.set_value(std::string(slice.begin(), slice.end()));
  }
  void OnRefused(const absl::Status& status) override {
    ++num_hooks;
    refused.set_value(status);
  }
  void OnDrained() override {
    if (!was_drained_.exchange(true)) drained.set_value();
  }
  void OnCancelled() override { cancelled.set_value(); }
  void OnEnded() override { ended.set_value(); }
  std::atomic<bool> was_drained_ = false;
};

// Hands the first WatchStatus call to the test.
class CallService final : public RawService {
 public:
  CallService() {
    AddMethod(v1::WorkerService::service_full_name(), "WatchStatus",
              [this](const grpc::CallbackServerContext& /*context*/) {
                auto call = std::make_shared<TestCall>();
                if (!made_.exchange(true)) first.set_value(call);
                return call;
              });
  }
  std::promise<std::shared_ptr<TestCall>> first;

 private:
  std::atomic<bool> made_ = false;
};

v1::WatchStatusResponse Message(int number, std::size_t padding = 0) {
  v1::WatchStatusResponse message;
  message.set_queued(number);
  message.set_fingerprint(std::string(padding, 'x'));
  return message;
}

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

// A call of a client that may do anything.
class RawServerCallTest : public testing::Test {
 protected:
  void Start(const RawHttp2::Options& client = {}) {
    options_.listen = "127.0.0.1:0";
    options_.services = {&service_};
    server_ = *GrpcServer::Start(options_);
    client_.emplace(WithPort(client));
  }
  RawHttp2::Options WithPort(RawHttp2::Options options) const {
    options.port = server_->port();
    return options;
  }
  std::shared_ptr<TestCall> TheCall() { return service_.first.get_future().get(); }
  // How the server has ended it.
  absl::Status End(std::uint32_t call) {
    EXPECT_TRUE(client_->ReadUntilOver(call));
    return client_->stream(call).Status();
  }
  void ExpectEnd(std::uint32_t call, absl::StatusCode code, const std::string& reason) {
    const absl::Status status = End(call);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_EQ(ErrorReason(status), reason) << status;
  }

  GrpcServerOptions options_;
  CallService service_;
  std::unique_ptr<GrpcServer> server_;
  std::optional<RawHttp2> client_;
};

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

TEST_F(RawServerCallTest, AReaderThatTakesNothingHoldsLittleWhateverItsWindowSays) {
  constexpr std::uint32_t kWindow = 1U << 30;
  Start({.window = kWindow, .reopens_windows = false});
  client_->OpenWindow(0, kWindow);
  client_->Call(kWatch, "");
  const auto call = TheCall();
  call->message.get_future().wait();
  // Without a bound the kernel takes megabytes, as fast as they are written.
  std::size_t bytes = 0;
  for (Clock::TimePoint last = Clock::Real().Now();
       Clock::Real().Now() - last < std::chrono::seconds(2);) {
    if (!call->Write(Message(1, 100))) continue;
    bytes += Message(1, 100).ByteSizeLong();
    last = Clock::Real().Now();
  }
  EXPECT_GT(bytes, std::size_t{10} << 10);
  EXPECT_LT(bytes, std::size_t{1} << 20);
}

TEST_F(RawServerCallTest, AWriteThatNobodyReadsEndsTheCall) {
  options_.reader_timeout = std::chrono::milliseconds(300);
  Start({.window = 0});
  const std::uint32_t id = client_->Call(kWatch, "");
  const auto call = TheCall();
  call->message.get_future().wait();
  ASSERT_TRUE(call->Write(Message(1)));
  EXPECT_EQ(End(id).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(End(id).message(), "the stream was not read for 0.3 s");
  EXPECT_TRUE(client_->stream(id).data.empty());
  call->cancelled.get_future().wait();
  call->ended.get_future().wait();
}

TEST_F(RawServerCallTest, AnEndThatNobodyReadsIsCutOff) {
  options_.reader_timeout = std::chrono::milliseconds(300);
  Start({.window = 3, .reopens_windows = false});
  const std::uint32_t id = client_->Call(kWatch, "");
  const auto call = TheCall();
  call->message.get_future().wait();
  ASSERT_TRUE(call->Write(Message(1)));
  ASSERT_TRUE(call->Write(Message(2)));
  call->Finish(absl::OkStatus());
  EXPECT_EQ(End(id).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(client_->stream(id).data.size(), 3u);
  call->ended.get_future().wait();
}

TEST_F(RawServerCallTest, AReaderThatKeepsReadingIsLeftInPeace) {
  options_.reader_timeout = std::chrono::milliseconds(500);
  Start({.window = 0, .reopens_windows = false});
  const std::uint32_t id = client_->Call(kWatch, "");
  const auto call = TheCall();
  call->message.get_future().wait();
  const auto bytes = static_cast<std::uint32_t>(5 + Message(1).SerializeAsString().size());
  const Clock::TimePoint enough = Clock::Real().Now() + 3 * options_.reader_timeout;
  for (std::size_t i = 1; Clock::Real().Now() < enough; ++i) {
    ASSERT_TRUE(call->Write(Message(1)));
    client_->Read(std::chrono::milliseconds(20));
    client_->OpenWindow(id, bytes);
    ASSERT_TRUE(client_->ReadUntil([&] { return client_->stream(id).Messages().size() == i; }));
  }
  call->Finish(absl::OkStatus());
  EXPECT_TRUE(End(id).ok());
}

TEST_F(RawServerCallTest, AShutdownTellsRunningCallsWhyAndCutsOffWhoDoesNotRead) {
  Start({.window = 0});
  const std::uint32_t runs = client_->Call(kWatch, "");
  const auto running = TheCall();
  running->message.get_future().wait();
  const std::uint32_t unread = client_->Call(kWatch, "");
  const std::uint32_t half_open = client_->OpenCall(kWatch);
  // They have begun when a later call has been answered.
  ASSERT_TRUE(client_->ReadUntilOver(client_->Call("/x", "")));
  ASSERT_TRUE(running->room() == kCapacity);

  auto shutdown =
      std::async(std::launch::async, [this] { server_->Shutdown(std::chrono::milliseconds(300)); });
  for (const std::uint32_t call : {runs, unread, half_open}) {
    ExpectEnd(call, absl::StatusCode::kUnavailable, "DRAINING");
    EXPECT_TRUE(RetryAfter(client_->stream(call).Status()));
  }
  running->cancelled.get_future().wait();
  shutdown.wait();
  running->ended.get_future().wait();
}

TEST_F(RawServerCallTest, AShutdownDoesNotWaitForWhoDoesNotRead) {
  Start({.window = 0});
  const std::uint32_t id = client_->Call(kWatch, "");
  const auto call = TheCall();
  call->message.get_future().wait();
  ASSERT_TRUE(call->Write(Message(1)));
  call->Finish(absl::OkStatus());
  const Clock::TimePoint before = Clock::Real().Now();
  auto shutdown =
      std::async(std::launch::async, [this] { server_->Shutdown(std::chrono::seconds(60)); });
  // The last call's status may be lost as gRPC closes the connection.
  client_->ReadUntil([&] { return client_->stream(id).over() || client_->closed(); });
  shutdown.wait();
  EXPECT_LT(Clock::Real().Now() - before, std::chrono::seconds(30));
}

TEST_F(RawServerCallTest, OneClientCannotHaveAllCalls) {
  options_.max_calls = 10;
  Start();
  std::vector<std::uint32_t> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(client_->OpenCall(kWatch));
  ExpectEnd(calls.back(), absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS");
  RawHttp2 other(WithPort({.source = "127.0.0.2"}));
  const std::uint32_t id = other.OpenCall("/grpc.health.v1.Health/Check");
  other.SendData(id, RawHttp2::GrpcMessage(""), /*end=*/true);
  ASSERT_TRUE(other.ReadUntilOver(id));
  EXPECT_TRUE(other.stream(id).Status().ok()) << other.stream(id).Status();
}

}  // namespace
}  // namespace thinkwire::rpc
