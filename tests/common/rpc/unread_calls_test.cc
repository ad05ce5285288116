// Calls whose reader takes little or nothing, and the end of their server.

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <vector>

#include "common/clock.h"
#include "common/rpc/server_call.h"
#include "tests/common/rpc/server_call_testing.h"

namespace thinkwire::rpc {
namespace {

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
