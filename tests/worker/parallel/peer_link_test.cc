#include "worker/parallel/peer_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <string>
#include <thread>

#include "tests/worker/parallel/socket_pair.h"

namespace thinkwire::worker::parallel {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

constexpr milliseconds kLong(60'000);
constexpr milliseconds kShort(50);

TEST(PeerLinkTest, CarriesFramesInOrderWhateverTheirSize) {
  const auto [left, right] = SocketPair();
  PeerLink sender(left, "rank 0", kLong);
  PeerLink receiver(right, "rank 1", kLong);
  const std::string large(3'000'000, 'L');  // more than a socket takes at once
  std::thread sending([&] {
    EXPECT_TRUE(sender.Send(FrameKind::kPart, 1, {}).ok());
    EXPECT_TRUE(sender.Send(FrameKind::kPart, 2, large).ok());
  });
  EXPECT_TRUE(receiver.Receive(FrameKind::kPart, 1, {}).ok());
  std::string got(large.size(), ' ');
  const absl::Status status = receiver.Receive(FrameKind::kPart, 2, got);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(got, large);
  sending.join();
}

TEST(PeerLinkTest, SendsSmallFramesOverTcpAtOnce) {
  const auto [left, right] = TcpPair();
  PeerLink sender(left, "rank 0", kLong);
  PeerLink receiver(right, "rank 1", kLong);
  int at_once = 0;
  socklen_t size = sizeof(at_once);
  EXPECT_EQ(getsockopt(left, IPPROTO_TCP, TCP_NODELAY, &at_once, &size), 0);
  EXPECT_NE(at_once, 0);
  EXPECT_TRUE(sender.Send(FrameKind::kWhole, 9, std::string("sums")).ok());
  std::string got(4, ' ');
  EXPECT_TRUE(receiver.Receive(FrameKind::kWhole, 9, got).ok());
  EXPECT_EQ(got, "sums");
}

TEST(PeerLinkTest, SaysWhoClosed) {
  const auto [left, right] = SocketPair();
  close(left);
  PeerLink link(right, "rank 1", kLong);
  std::string payload(4, ' ');
  const absl::Status status = link.Receive(FrameKind::kPart, 1, payload);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "rank 1 has closed its connection");
  EXPECT_EQ(link.Send(FrameKind::kWhole, 1, payload).message(), status.message());
}

// As when a process is killed that something was sent to: its machine then resets the connection.
TEST(PeerLinkTest, SaysTheSameOfWhoClosedWithoutHavingReadAll) {
  const auto [left, right] = TcpPair();
  PeerLink link(right, "rank 1", kLong);
  std::string payload(4, ' ');
  ASSERT_TRUE(link.Send(FrameKind::kWhole, 1, payload).ok());
  pollfd wait = {};
  wait.fd = left;
  wait.events = POLLIN;
  ASSERT_EQ(poll(&wait, 1, 60'000), 1);
  close(left);
  const absl::Status status = link.Receive(FrameKind::kPart, 1, payload);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(status.message(), "rank 1 has closed its connection");
}

TEST(PeerLinkTest, WaitsNoLongerThanItsPatienceForASilentPeer) {
  const auto [left, right] = SocketPair();
  PeerLink link(right, "rank 1", kShort);
  std::string payload(4, ' ');
  EXPECT_EQ(link.Receive(FrameKind::kPart, 1, payload).message(),
            "rank 1 has kept a frame waiting for 50 ms");
  close(left);
}

TEST(PeerLinkTest, WaitsNoLongerForAPeerThatReadsNothing) {
  const auto [left, right] = SocketPair();
  PeerLink link(right, "rank 1", kShort);
  const std::string large(30'000'000, 'L');
  EXPECT_EQ(link.Send(FrameKind::kPart, 1, large).message(),
            "rank 1 has kept a frame waiting for 50 ms");
  close(left);
}

// What a stranger's or a confused peer's bytes make of a link that waits for step 5 of 4 bytes.
std::string Refusal(const std::string& bytes) {
  const auto [left, right] = SocketPair();
  EXPECT_EQ(write(left, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  close(left);
  PeerLink link(right, "rank 1", kLong);
  std::string payload(4, ' ');
  return std::string(link.Receive(FrameKind::kPart, 5, payload).message());
}

std::string FrameOf(FrameKind kind, std::uint64_t step, const std::string& payload) {
  const auto head = EncodeFrameHead(kind, step, payload);
  return std::string(head.data(), head.size()) + payload;
}

TEST(PeerLinkTest, RefusesWhatIsNotTheFrameThatIsDue) {
  EXPECT_EQ(Refusal(FrameOf(FrameKind::kPart, 5, "sums")), "");
  EXPECT_EQ(Refusal(FrameOf(FrameKind::kPart, 6, "sums")),
            "rank 1: sent 4 bytes of kind 1 for step 6; expected: 4 bytes of kind 1 for step 5");
  EXPECT_THAT(Refusal(FrameOf(FrameKind::kWhole, 5, "sums")), HasSubstr("of kind 2"));
  EXPECT_THAT(Refusal(FrameOf(FrameKind::kPart, 5, "sum")), HasSubstr("sent 3 bytes"));
  EXPECT_THAT(Refusal(FrameOf(FrameKind::kPart, 5, "sums!")), HasSubstr("at most 4 can come"));
  EXPECT_THAT(Refusal("GET / HTTP/1.1\r\nHost: stranger\r\n\r\n"), HasSubstr("does not speak"));
  EXPECT_THAT(Refusal("TWG"), HasSubstr("has closed its connection"));
}

TEST(PeerLinkTest, RefusesADamagedPayload) {
  std::string frame = FrameOf(FrameKind::kPart, 5, "sums");
  frame.back() = 'S';
  EXPECT_EQ(Refusal(frame), "rank 1: sent a frame of step 5 whose checksum is wrong");
}

}  // namespace
}  // namespace thinkwire::worker::parallel
