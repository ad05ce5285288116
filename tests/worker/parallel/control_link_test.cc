#include "worker/parallel/control_link.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "tests/worker/parallel/socket_pair.h"

namespace thinkwire::worker::parallel {
namespace {

constexpr std::chrono::milliseconds kLong{60'000};
constexpr std::size_t kMaxPayload = 64;

std::unique_ptr<PeerLink> LinkOf(int socket, std::chrono::milliseconds patience = kLong) {
  return std::make_unique<PeerLink>(socket, "rank 1", patience);
}

absl::Status Ignore(const Frame&) { return absl::OkStatus(); }
std::string NoWords() { return {}; }

TEST(ControlLinkTest, HearsWhatIsSentAndBeatsByItself) {
  const auto [left, right] = TcpPair();
  std::promise<std::string> beat;
  std::promise<std::string> plan;
  ControlLink hearing(
      LinkOf(left), kMaxPayload,
      [&, beats = 0](const Frame& frame) mutable {
        if (frame.kind == FrameKind::kPlan) plan.set_value(frame.payload);
        if (frame.kind == FrameKind::kBeat && ++beats == 2) beat.set_value(frame.payload);
        return absl::OkStatus();
      },
      NoWords);
  ControlLink saying(LinkOf(right), kMaxPayload, Ignore, [] { return std::string("alive"); });
  saying.Send(FrameKind::kPlan, 3, std::string("plan"));
  EXPECT_EQ(plan.get_future().get(), "plan");
  EXPECT_EQ(beat.get_future().get(), "alive");
  hearing.Part();
  saying.Part();
}

// Runs a link over `socket` until it ends the process.
[[noreturn]] void RunLink(int socket, std::chrono::milliseconds patience, ControlLink::Hear hear) {
  const ControlLink link(LinkOf(socket, patience), kMaxPayload, std::move(hear), NoWords);
  for (;;) pause();
}

void SendAndRun(const std::string& bytes, std::chrono::milliseconds patience,
                ControlLink::Hear hear) {
  const auto [left, right] = SocketPair();
  EXPECT_EQ(write(left, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  RunLink(right, patience, std::move(hear));
}

std::string FrameOf(FrameKind kind, const std::string& payload) {
  const auto head = EncodeFrameHead(kind, 5, payload);
  return std::string(head.data(), head.size()) + payload;
}

class ControlLinkDeathTest : public testing::Test {
 protected:
  void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

TEST_F(ControlLinkDeathTest, APeerThatHasGoneEndsTheProcess) {
  const auto gone = [] {
    const auto [left, right] = SocketPair();
    close(left);
    RunLink(right, kLong, Ignore);
  };
  EXPECT_EXIT(gone(), testing::ExitedWithCode(70),
              "^the group is broken: rank 1 has closed its connection\n$");
}

TEST_F(ControlLinkDeathTest, ASilentPeerEndsTheProcess) {
  EXPECT_EXIT(SendAndRun("", std::chrono::milliseconds(50), Ignore), testing::ExitedWithCode(70),
              "^the group is broken: rank 1 has kept a frame waiting for 50 ms\n$");
}

TEST_F(ControlLinkDeathTest, GarbageEndsTheProcess) {
  EXPECT_EXIT(SendAndRun("GET / HTTP/1.1\r\nHost: rank.1\r\n\r\n", kLong, Ignore),
              testing::ExitedWithCode(70),
              "^the group is broken: rank 1: does not speak this version of a group's frames\n$");
}

TEST_F(ControlLinkDeathTest, WhatItsHearerRefusesEndsTheProcess) {
  const auto refuse = [](const Frame&) { return absl::InvalidArgumentError("sent nonsense"); };
  EXPECT_EXIT(SendAndRun(FrameOf(FrameKind::kReady, "?"), kLong, refuse),
              testing::ExitedWithCode(70), "^the group is broken: rank 1: sent nonsense\n$");
}

TEST_F(ControlLinkDeathTest, AFrameThatIsTooLargeEndsTheProcess) {
  EXPECT_EXIT(SendAndRun(FrameOf(FrameKind::kPlan, std::string(65, 'p')), kLong, Ignore),
              testing::ExitedWithCode(70), "announced a frame of 65 bytes, where at most 64");
}

}  // namespace
}  // namespace thinkwire::worker::parallel
