#include "common/rpc/frame_guard.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/rpc/http2_frames.h"

namespace thinkwire::rpc {
namespace {

using enum http2::FrameType;
using http2::kAck;
using http2::kEndHeaders;

constexpr auto kUnknown = static_cast<http2::FrameType>(0xbe);
constexpr std::uint8_t kEnd = http2::kEndStream;
constexpr std::size_t kHeaderBytes = 32 << 10;
constexpr std::size_t kFrameBytes = 16 << 10;

constexpr char kPreface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::string Frame(http2::FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::size_t size) {
  std::string out;
  const auto add = [&](std::uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  };
  add(size, 3);
  add(type, 1);
  add(flags, 1);
  add(stream, 4);
  return out + std::string(size, 'x');
}

class FrameGuardTest : public testing::Test {
 protected:
  FrameGuardTest() { Connect(); }

  void Connect() {
    guard_.emplace(kHeaderBytes, now_);
    EXPECT_TRUE(Take(absl::StrCat(kPreface, Frame(kSettings, 0, 0, 6))));
  }

  bool Take(const std::string& bytes) {
    return guard_->Take({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()}, now_)
        .ok();
  }
  // How many of the frame it takes, at most `most`.
  int CountTaken(const std::string& frame, int most) {
    int taken = 0;
    while (taken < most && Take(frame)) ++taken;
    return taken;
  }
  std::string NewHeaders(std::uint8_t flags = kEndHeaders, std::size_t size = 100) {
    return Frame(kHeaders, flags, next_stream_ += 2, size);
  }

  Clock::TimePoint now_{};
  std::uint32_t next_stream_ = 1;
  std::optional<FrameGuard> guard_;
};

TEST_F(FrameGuardTest, CallsOfWhateverNumberPass) {
  for (int i = 0; i < 20'000; ++i) {
    ASSERT_TRUE(Take(NewHeaders())) << i;
    const std::uint32_t stream = next_stream_;
    ASSERT_TRUE(Take(Frame(kData, kEnd, stream, 300) + Frame(kWindowUpdate, 0, stream, 4) +
                     Frame(kWindowUpdate, 0, 0, 4) + Frame(kResetStream, 0, stream, 4)))
        << i;
  }
}

TEST_F(FrameGuardTest, HeadersEndSomeTime) {
  ASSERT_TRUE(Take(NewHeaders(0, kFrameBytes)));
  const int frames = CountTaken(Frame(kContinuation, 0, next_stream_, kFrameBytes), 1000);
  EXPECT_GE(frames * kFrameBytes, kHeaderBytes);
  EXPECT_LE(frames * kFrameBytes, 5 * kHeaderBytes);
}

TEST_F(FrameGuardTest, LargeHeadersOfManyCallsPass) {
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(Take(NewHeaders(0, kFrameBytes) + Frame(kContinuation, 0, next_stream_, 16384) +
                     Frame(kContinuation, kEndHeaders, next_stream_, 16384)));
  }
}

TEST_F(FrameGuardTest, HeadersOnNoNewStreamAreFew) {
  ASSERT_TRUE(Take(NewHeaders()));
  for (const std::uint32_t stream : {next_stream_, 2u, 0u}) {
    ASSERT_TRUE(Take(NewHeaders()));
    ASSERT_TRUE(Take(Frame(kHeaders, kEnd | kEndHeaders, stream, 100)));  // trailers
  }
  EXPECT_LE(CountTaken(Frame(kHeaders, kEndHeaders, 2, kFrameBytes), 100), 2);
}

TEST_F(FrameGuardTest, FramesThatNoCallNeedsAreFewASecond) {
  for (const std::string& frame :
       {Frame(kSettings, 0, 0, 0), Frame(kSettings, kAck, 0, 0), Frame(kPriority, 0, 1, 5),
        Frame(kResetStream, 0, 1, 4), Frame(kPing, kAck, 0, 8), Frame(kUnknown, 0, 0, 40),
        Frame(kData, 0, 1, 0), Frame(kHeaders, kEndHeaders, 1, 0)}) {
    Connect();
    ASSERT_TRUE(Take(NewHeaders()));
    const int burst = CountTaken(frame, 100'000);
    EXPECT_GE(burst, 100);
    EXPECT_LE(burst, FrameGuard::kSpareBurst);
    Connect();
    ASSERT_TRUE(Take(NewHeaders()));
    EXPECT_EQ(CountTaken(frame, burst), burst);
    now_ += std::chrono::seconds(1);
    const int later = CountTaken(frame, 100'000);
    EXPECT_GE(later, 10);
    EXPECT_LE(later, FrameGuard::kSpareASecond);
  }
}

TEST_F(FrameGuardTest, PingsAreFewAtOnce) {
  const std::string ping = Frame(kPing, 0, 0, 8);
  for (int i = 0; i < 10'000; ++i) {  // one for each way there and back
    now_ += std::chrono::microseconds(150);
    ASSERT_TRUE(Take(ping)) << i;
  }
  EXPECT_LE(CountTaken(ping, 1000), FrameGuard::kPingBurst);
}

TEST_F(FrameGuardTest, WordsOnWindowsMayBeManyButNotWithoutAnEnd) {
  const std::string word = Frame(kWindowUpdate, 0, 0, 4);
  for (int second = 0; second < 5; ++second) {
    EXPECT_EQ(CountTaken(word, 100'000), 100'000);
    now_ += std::chrono::seconds(1);
  }
  EXPECT_LE(CountTaken(word, 10'000'000), FrameGuard::kMostASecond);
}

// What is taken does not depend on where the bytes are cut.
TEST_F(FrameGuardTest, ItSeesTheSameFramesHoweverTheyArrive) {
  std::string bytes = NewHeaders(0, 300);
  for (int i = 0; i < 20; ++i) bytes += Frame(kContinuation, 0, next_stream_, i % 3 == 0 ? 0 : 70);
  const auto taken = [&](std::size_t least, std::size_t most) {
    FrameGuard guard(kHeaderBytes, now_);
    std::mt19937 random(static_cast<std::uint32_t>(most));
    const std::string all = kPreface + bytes;
    for (std::size_t at = 0; at < all.size();) {
      const std::size_t size = std::min(
          std::uniform_int_distribution<std::size_t>(least, most)(random), all.size() - at);
      const auto* const begin = reinterpret_cast<const std::uint8_t*>(all.data()) + at;
      at += size;
      if (!guard.Take({begin, size}, now_).ok()) return at;
    }
    return std::size_t{0};
  };
  const std::size_t refused_at = taken(1, 1);
  ASSERT_GT(refused_at, 0u);
  for (const std::size_t most : {2, 9, 20, 200}) {
    EXPECT_GE(taken(1, most), refused_at) << most;
    EXPECT_LT(taken(1, most), refused_at + most) << most;
  }
}

}  // namespace
}  // namespace thinkwire::rpc
