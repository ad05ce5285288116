#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "worker/parallel/frame.h"

namespace thinkwire::worker::parallel {

// One TCP connection to another rank, over which frames go. It is open already, and whoever made it
// has found out who is at the other end: nothing here asks.
// Owns: the socket.
// Threads: one at a time.
// Fails: UNAVAILABLE in one sentence that names the peer, where it has closed, or has let a whole
// frame wait longer than the patience; as DecodeFrameHead and CheckFrame for what it sent wrongly.
// After a failure the connection is of no more use.
class PeerLink {
 public:
  // Sends small frames at once (TCP_NODELAY). `peer` is its name in sentences.
  // REQUIRES: `socket` is connected.
  PeerLink(int socket, std::string peer, std::chrono::milliseconds patience);
  ~PeerLink();
  PeerLink(const PeerLink&) = delete;
  PeerLink& operator=(const PeerLink&) = delete;

  // Returns when the machine has taken the frame.
  absl::Status Send(FrameKind kind, std::uint64_t step, std::span<const char> payload);

  // Fills `payload` from the next frame, which must be of this kind, step and size.
  absl::Status Receive(FrameKind kind, std::uint64_t step, std::span<char> payload);

 private:
  using Clock = std::chrono::steady_clock;

  absl::Status SendBytes(std::span<const char> bytes, Clock::time_point deadline);
  absl::Status ReceiveBytes(std::span<char> bytes, Clock::time_point deadline);
  absl::Status WaitFor(short events, Clock::time_point deadline);
  absl::Status ReceiveFrame(FrameKind kind, std::uint64_t step, std::span<char> payload,
                            Clock::time_point deadline);
  absl::Status Lost(const char* what, int error) const;

  const int socket_;
  const std::string peer_;
  const std::chrono::milliseconds patience_;
};

}  // namespace thinkwire::worker::parallel
