#pragma once

namespace thinkwire::rpc {

// Pings that find a dead peer without killing a silent stream: a server drops clients that ping
// more often than its minimum, so the client's period must stay above it.
inline constexpr int kMinReceivedPingIntervalMs = 1000;
inline constexpr int kClientKeepaliveTimeMs = 2000;
inline constexpr int kClientKeepaliveTimeoutMs = 1000;
inline constexpr int kServerKeepaliveTimeMs = 20000;
inline constexpr int kServerKeepaliveTimeoutMs = 10000;
// Of a worker, whose peers are routers: one that was stopped leaves streams that take places, and
// whose clients have gone on elsewhere. Twice the time that routers give workers.
inline constexpr int kWorkerKeepaliveTimeMs = 2000;
inline constexpr int kWorkerKeepaliveTimeoutMs = 3000;
// Of a client, for one attempt to connect, the server's first word included.
inline constexpr int kConnectTimeoutMs = 5000;
// Of a server, for the beginning of HTTP/2 on a new connection.
inline constexpr int kHandshakeTimeoutMs = 10000;
// A channel argument for the same time as the keepalive timeout: newer gRPC ends a connection whose
// pings are not answered by this one, a minute by default. The headers of 1.51 do not have it.
inline constexpr char kPingTimeoutArgument[] = "grpc.http2.ping_timeout_ms";
static_assert(kMinReceivedPingIntervalMs < kClientKeepaliveTimeMs);

}  // namespace thinkwire::rpc
