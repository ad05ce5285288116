#include "common/rpc/frame_limits.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/rpc/grpc_server.h"
#include "common/rpc/http2_frames.h"
#include "grpc/health/v1/health.pb.h"
#include "tests/fakes/raw_http2.h"

namespace thinkwire::rpc {
namespace {

using enum http2::FrameType;
using http2::kEndHeaders;
using Frame = RawHttp2::Frame;

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr std::uint8_t kUnknown = 0xbe;
constexpr int kMany = 1'000'000;

// A literal header (RFC 7541, 6.2.2) that needs no table, so many times.
std::string SmallHeaders(int number) {
  std::string out;
  for (int i = 0; i < number; ++i) absl::StrAppend(&out, absl::string_view("\0\1a\1b", 5));
  return out;
}

// The beginning of one whose value has 2^28 bytes.
std::string LongValue() {
  return std::string("\0\1a\x7f\x81\xff\xff\x7f", 8) + std::string(1000, 'x');
}

class FrameLimitsTest : public testing::Test {
 protected:
  FrameLimitsTest() { server_->SetServing(true); }

  // Sends these, and the last of them again and again. Whether the server closes the connection.
  bool IsClosedFor(const std::vector<Frame>& frames) {
    RawHttp2 client({.port = server_->port(), .source = "127.0.0.2"});
    // Its acknowledgement of settings would be an error within headers.
    EXPECT_TRUE(client.ReadUntil([&] { return client.max_streams() > 0; }));
    for (const Frame& frame : frames) client.SendFrame(frame);
    for (int i = 0; i < kMany && !client.closed(); ++i) {
      client.SendFrame(frames.back());
      if (i % 100 == 0) client.Read(Clock::Duration::zero());
    }
    return client.closed();
  }
  // Whether somebody else is.
  bool IsServed() {
    RawHttp2 client({.port = server_->port()});
    const std::uint32_t call = client.Call(kCheck, "");
    return client.ReadUntilOver(call) && client.stream(call).Status().ok();
  }

  const std::unique_ptr<GrpcServer> server_ = *GrpcServer::Start({.listen = "127.0.0.1:0"});
};

TEST_F(FrameLimitsTest, HeadersWithoutAnEndCloseTheConnection) {
  EXPECT_TRUE(IsClosedFor({{.type = kHeaders, .stream = 1, .payload = SmallHeaders(500)},
                           {.type = kContinuation, .stream = 1, .payload = SmallHeaders(500)}}));
  EXPECT_TRUE(IsServed());
}

TEST_F(FrameLimitsTest, AHeaderWithoutAnEndClosesTheConnection) {
  EXPECT_TRUE(
      IsClosedFor({{.type = kHeaders, .stream = 1, .payload = LongValue()},
                   {.type = kContinuation, .stream = 1, .payload = std::string(1000, 'x')}}));
  EXPECT_TRUE(IsServed());
}

TEST_F(FrameLimitsTest, AHeaderThatGoesOnFromBlockToBlockClosesTheConnection) {
  EXPECT_TRUE(IsClosedFor(
      {{.type = kHeaders, .flags = kEndHeaders, .stream = 2, .payload = LongValue()},
       {.type = kHeaders, .flags = kEndHeaders, .stream = 2, .payload = std::string(1000, 'x')}}));
  EXPECT_TRUE(IsServed());
}

TEST_F(FrameLimitsTest, FloodsOfFramesThatNoCallNeedsCloseTheConnection) {
  EXPECT_TRUE(IsClosedFor({{.type = kSettings}})) << "SETTINGS";
  EXPECT_TRUE(IsClosedFor({{.type = kPing, .payload = "12345678"}})) << "PING";
  EXPECT_TRUE(IsClosedFor({{.type = kPing, .flags = 1, .payload = "12345678"}})) << "PING ack";
  EXPECT_TRUE(IsClosedFor({{.type = kUnknown, .payload = "?"}})) << "unknown";
  EXPECT_TRUE(IsServed());
}

TEST_F(FrameLimitsTest, ABusyClientKeepsItsConnection) {
  RawHttp2 client({.port = server_->port()});
  for (int i = 0; i < 1500; ++i) {
    const std::uint32_t call = client.Call(kCheck, "");
    ASSERT_TRUE(client.ReadUntilOver(call)) << i;
    ASSERT_TRUE(client.stream(call).Status().ok()) << client.stream(call).Status();
    client.Reset(call);  // late, as of one whose answer has crossed it
    client.Forget(call);
  }
}

}  // namespace
}  // namespace thinkwire::rpc
