#pragma once

#include <cstddef>
#include <cstdint>

// HTTP/2's frames (RFC 9113, sections 4.1 and 6), as far as they are looked at or made here.
namespace thinkwire::rpc::http2 {

enum FrameType : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kResetStream = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
};

// Flags: of DATA and HEADERS; of SETTINGS and PING; of HEADERS and CONTINUATION.
inline constexpr std::uint8_t kEndStream = 1;
inline constexpr std::uint8_t kAck = 1;
inline constexpr std::uint8_t kEndHeaders = 4;

inline constexpr std::size_t kFrameHeader = 9;  // bytes before each payload

}  // namespace thinkwire::rpc::http2
