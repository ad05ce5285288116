#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "common/clock.h"
#include "common/rpc/http2_frames.h"

namespace thinkwire::rpc {

// So much at once, and so much a second after that (a token bucket).
class FrameBudget {
 public:
  FrameBudget(double burst, double a_second) : burst_(burst), a_second_(a_second), left_(burst) {}
  void Pass(double seconds);
  void Give(double more);
  // False: it is used up.
  bool Take();

 private:
  const double burst_;
  const double a_second_;
  double left_;
};

// What one client sends, frame by frame (RFC 9113, section 4.1), and when it is more than calls
// need. gRPC 1.51 bounds none of these:
//
// 1. A block of headers that goes on in CONTINUATION frames has kMaxHeaderFrames of them beyond
//    those that headers of the size allowed fill. gRPC allows that size to each frame and keeps
//    what all of them bring, seventy times their own size where they only name headers: 11 MB fill
//    its quota of 512 MiB, which is everybody's. Of a string without an end it keeps, beside the
//    quota, and copies with each frame, all that has come.
// 2. Headers on streams that are not new, which are trailers, and no client of gRPC sends any, have
//    the size allowed in all, until a new stream begins: a string without an end may go on from one
//    block to the next there.
// 3. Frames that ask for nothing a call needs - SETTINGS, PRIORITY, acknowledgements, resets of
//    more streams than have begun, empty DATA, unknown ones - are kSpareBurst at once and
//    kSpareASecond.
// 4. Frames of all kinds are kMostASecond: a reader of the 57,000 messages a second that a router
//    passes on (tests/bench/RESULTS.md) sends two words on windows for each. gRPC reads on as long
//    as there is more to read, and that thread serves nobody else meanwhile.
// 5. PINGs are kPingBurst at once and kPingASecond, which is one for each way to a near client and
//    back: clients in Go send one with DATA that they get whenever none is on its way, all the time
//    that tokens come (BDP estimation, on by default). gRPC ends a connection after three of them
//    between two answers, but for each further one of those that have arrived anew: 190 to 710 ms
//    of everybody's time, and 70 to 130 MB.
//
// DATA is held by windows, and new streams by OpenCalls and ResetCounts.
// Threads: one at a time.
class FrameGuard {
 public:
  static constexpr int kMaxHeaderFrames = 8;
  static constexpr double kSpareBurst = 1000;
  static constexpr double kSpareASecond = 100;
  static constexpr double kMostASecond = 200'000;
  static constexpr double kPingBurst = 100;
  static constexpr double kPingASecond = 10'000;

  // `header_bytes`: of the headers of one call.
  FrameGuard(std::size_t header_bytes, Clock::TimePoint now)
      : header_bytes_(header_bytes), seen_(now) {}

  // Takes in the next bytes of the connection, wherever they cut its frames. Fails:
  // RESOURCE_EXHAUSTED, by which of the five; the connection is to be closed then.
  absl::Status Take(std::span<const std::uint8_t> bytes, Clock::TimePoint now);

 private:
  static constexpr std::size_t kPreface = 24;  // bytes that come first

  struct Frame {
    std::size_t size = 0;
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    std::uint32_t stream = 0;
  };

  Frame ReadFrame() const;
  absl::Status Begin(const Frame& frame);
  void BeginBlock(const Frame& frame);
  absl::Status TakeHeaders(const Frame& frame);
  static bool IsSpare(const Frame& frame);

  const std::size_t header_bytes_;
  Clock::TimePoint seen_;
  std::size_t to_skip_ = kPreface;  // bytes
  std::array<std::uint8_t, http2::kFrameHeader>
      header_{};  // of the next frame, as far as it has come
  std::size_t has_ = 0;
  FrameBudget all_{kMostASecond, kMostASecond};
  FrameBudget spare_{kSpareBurst, kSpareASecond};
  FrameBudget pings_{kPingBurst, kPingASecond};
  std::uint32_t last_stream_ = 0;
  bool is_new_ = false;  // the stream of the last block
  std::size_t block_frames_ = 0;
  std::size_t old_bytes_ = 0;  // of headers, of streams that are not new
};

}  // namespace thinkwire::rpc
