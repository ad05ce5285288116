#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "common/peer_limits.h"

namespace thinkwire::router::http {

// What a client can hold of the door, and for how long, as peer_limits.h has it for gRPC; the
// README's table has these lines too. Connections are bounded by rpc::ConnectionTable, requests in
// hand by rpc::RequestBytes, both as gRPC's.

// A request's header; in a body of chunks the first line of each, and the trailers with the last.
// Owner: Connection. Over: 431, and the connection ends.
inline constexpr std::uint32_t kMaxHeaderBytes = 16 << 10;
// Its body: a chat of a full context. Owner: Connection. Over: 413, and the connection ends.
inline constexpr std::size_t kMaxBodyBytes = kMaxMessageBytes;
// Bodies that are still arriving, of all connections. Owner: Server, by shares. Over: 429, and the
// connection ends.
inline constexpr std::size_t kMaxArrivingBodyBytes = std::size_t{128} << 20;
// The values of a body's JSON, each some 50 bytes. Over: 400.
inline constexpr std::size_t kMaxBodyValues = kMaxRequestFields;
// Unknown fields that a Warning names, in bytes of each.
inline constexpr std::size_t kMaxIgnoredBytes = 64;
// What may wait behind the write that is under way. Owner: Exchange. Full: the generation pauses,
// and so its worker.
inline constexpr std::size_t kMaxPendingBytes = kMaxQueuedBytes;
// An answer that is told as a whole, in bytes of its texts. Owner: AnswerWriter. Over: 422.
inline constexpr std::size_t kMaxWholeAnswerBytes = std::size_t{8} << 20;

inline constexpr std::chrono::seconds kTlsTimeout{10};     // of a handshake
inline constexpr std::chrono::seconds kIdleTimeout{75};    // until a connection's next request
inline constexpr std::chrono::seconds kHeaderTimeout{10};  // from its first byte; then 408
inline constexpr std::chrono::seconds kBodyTimeout = kMessageTimeout;  // likewise
inline constexpr std::chrono::seconds kWriteTimeout = kReaderTimeout;  // of each write
inline constexpr std::chrono::seconds kLingerTimeout{2};  // for a client to read its last answer
inline constexpr std::size_t kMaxLingerBytes = std::size_t{4} << 20;  // read and dropped meanwhile
// How long a connection waits for its client to say something. A door's own; tests have others.
struct Patience {
  std::chrono::milliseconds handshake = kTlsTimeout;
  std::chrono::milliseconds idle = kIdleTimeout;
  std::chrono::milliseconds header = kHeaderTimeout;
  std::chrono::milliseconds body = kBodyTimeout;
};
// How often a stream says that it lives, where it has nothing else to say.
inline constexpr std::chrono::seconds kKeepAliveInterval{5};

}  // namespace thinkwire::router::http
