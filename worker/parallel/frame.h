#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// What the processes of one group of ranks say to each other over TCP: frames, each a head of fixed
// size and its payload. The head: "TWG" and a byte of version, the kind, three bytes of zero, the
// payload's length (u32), the step (u64), and a checksum (u64: FNV-1a over all that stands before
// it and the payload). Numbers are little-endian. Both ends run the same build.
namespace thinkwire::worker::parallel {

enum class FrameKind : std::uint8_t {
  kPart = 1,   // one rank's tensor, to rank 0
  kWhole,      // what rank 0 made of all ranks' parts
  kChallenge,  // the leader's first word to whoever connects (handshake.h)
  kGreeting,   // its answer
  kAdmitted,   // the leader takes it in
  kRefused,    // or not: why
  kComplete,   // to each follower, once all ranks are there: what their communicators need
  kBlocks,     // KV blocks (u64): a follower's own, then the leader's word for all
  kReady,      // a follower's ranks can take steps; bytes of their weights (u64)
  kBeat,       // a sign of life; a follower's says where its ranks are
  kPlan,       // a step's plan, to each follower
  kEnd,        // the leader ends the group in order
};
inline constexpr FrameKind kLastFrameKind = FrameKind::kEnd;

inline constexpr std::size_t kFrameHeadBytes = 28;

struct FrameHead {
  FrameKind kind = FrameKind::kPart;
  std::uint32_t length = 0;  // bytes of the payload
  std::uint64_t step = 0;
  std::uint64_t checksum = 0;
};

// REQUIRES: the payload has fewer than 2^32 bytes.
std::array<char, kFrameHeadBytes> EncodeFrameHead(FrameKind kind, std::uint64_t step,
                                                  std::string_view payload);

// The head that these bytes are. Fails: INVALID_ARGUMENT, in words that follow a peer's name,
// unless they are a head of this version and a known kind with at most `max_payload` bytes to come.
absl::StatusOr<FrameHead> DecodeFrameHead(std::string_view bytes, std::size_t max_payload);

// Fails: DATA_LOSS, likewise, unless `payload` is what the head was made for.
absl::Status CheckFrame(const FrameHead& head, std::string_view payload);

}  // namespace thinkwire::worker::parallel
