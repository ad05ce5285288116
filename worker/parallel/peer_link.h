#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/parallel/frame.h"

namespace thinkwire::worker::parallel {

// A whole frame as it came.
struct Frame {
  FrameKind kind = FrameKind::kPart;
  std::uint64_t step = 0;
  std::string payload;
};

// One TCP connection to another rank, over which frames go. It is open already, and whoever made it
// has found out who is at the other end: nothing here asks.
// Owns: the socket.
// Threads: one that sends and one that receives; ShutDown on any.
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

  const std::string& peer() const { return peer_; }

  // What is sent and received from now on is said to be `peer`'s and waits so long. REQUIRES: no
  // other thread uses the link.
  void Know(std::string peer, std::chrono::milliseconds patience);

  // Returns when the machine has taken the frame.
  absl::Status Send(FrameKind kind, std::uint64_t step, std::span<const char> payload);

  // Fills `payload` from the next frame, which must be of this kind, step and size.
  absl::Status Receive(FrameKind kind, std::uint64_t step, std::span<char> payload);

  // The next frame, whatever it is. Fails: also where it announces more than `max_payload` bytes.
  absl::StatusOr<Frame> ReceiveAny(std::size_t max_payload);

  // Whether the peer has closed, or is lost, and nothing of it is left to be received.
  bool HasClosed() const;

  // Ends the connection: both threads' calls fail from now on, also those that wait.
  void ShutDown();

 private:
  using Clock = std::chrono::steady_clock;

  absl::Status SendBytes(std::span<const char> bytes, Clock::time_point deadline);
  absl::Status ReceiveBytes(std::span<char> bytes, Clock::time_point deadline);
  absl::Status WaitFor(short events, Clock::time_point deadline);
  absl::Status ReceiveFrame(FrameKind kind, std::uint64_t step, std::span<char> payload,
                            Clock::time_point deadline);
  absl::Status Lost(const char* what, int error) const;

  const int socket_;
  std::string peer_;
  std::chrono::milliseconds patience_;
};

}  // namespace thinkwire::worker::parallel
