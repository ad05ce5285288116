#include "worker/parallel/peer_link.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace thinkwire::worker::parallel {
namespace {

bool MayTryAgain(int error) { return error == EAGAIN || error == EWOULDBLOCK || error == EINTR; }

std::string_view TextOf(std::span<const char> bytes) { return {bytes.data(), bytes.size()}; }

absl::Status CheckExpected(const FrameHead& head, FrameKind kind, std::uint64_t step,
                           std::size_t length) {
  if (head.kind == kind && head.step == step && head.length == length) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "sent ", head.length, " bytes of kind ", static_cast<int>(head.kind), " for step ", head.step,
      "; expected: ", length, " bytes of kind ", static_cast<int>(kind), " for step ", step));
}

}  // namespace

PeerLink::PeerLink(int socket, std::string peer, std::chrono::milliseconds patience)
    : socket_(socket), peer_(std::move(peer)), patience_(patience) {
  const int on = 1;  // refused by a socket that is not TCP's, which waits for nothing anyway
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

PeerLink::~PeerLink() { close(socket_); }

void PeerLink::Know(std::string peer, std::chrono::milliseconds patience) {
  peer_ = std::move(peer);
  patience_ = patience;
}

bool PeerLink::HasClosed() const {
  char byte = 0;
  const ssize_t got = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return got == 0 || (got < 0 && !MayTryAgain(errno));
}

void PeerLink::ShutDown() { shutdown(socket_, SHUT_RDWR); }

absl::Status PeerLink::Send(FrameKind kind, std::uint64_t step, std::span<const char> payload) {
  const Clock::time_point deadline = Clock::now() + patience_;
  RETURN_IF_ERROR(SendBytes(EncodeFrameHead(kind, step, TextOf(payload)), deadline));
  return SendBytes(payload, deadline);
}

absl::Status PeerLink::Receive(FrameKind kind, std::uint64_t step, std::span<char> payload) {
  return ReceiveFrame(kind, step, payload, Clock::now() + patience_);
}

absl::StatusOr<Frame> PeerLink::ReceiveAny(std::size_t max_payload) {
  const Clock::time_point deadline = Clock::now() + patience_;
  std::array<char, kFrameHeadBytes> bytes = {};
  RETURN_IF_ERROR(ReceiveBytes(bytes, deadline));
  const absl::StatusOr<FrameHead> head = DecodeFrameHead(TextOf(bytes), max_payload);
  if (!head.ok()) return Annotate(head.status(), peer_);
  Frame frame{head->kind, head->step, std::string(head->length, '\0')};
  RETURN_IF_ERROR(ReceiveBytes(frame.payload, deadline));
  const absl::Status whole = CheckFrame(*head, frame.payload);
  if (!whole.ok()) return Annotate(whole, peer_);
  return frame;
}

absl::Status PeerLink::ReceiveFrame(FrameKind kind, std::uint64_t step, std::span<char> payload,
                                    Clock::time_point deadline) {
  std::array<char, kFrameHeadBytes> bytes = {};
  RETURN_IF_ERROR(ReceiveBytes(bytes, deadline));
  const absl::StatusOr<FrameHead> head = DecodeFrameHead(TextOf(bytes), payload.size());
  const absl::Status wanted =
      head.ok() ? CheckExpected(*head, kind, step, payload.size()) : head.status();
  if (!wanted.ok()) return Annotate(wanted, peer_);
  RETURN_IF_ERROR(ReceiveBytes(payload, deadline));
  return Annotate(CheckFrame(*head, TextOf(payload)), peer_);
}

absl::Status PeerLink::SendBytes(std::span<const char> bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && !MayTryAgain(errno)) return Lost("cannot be sent to", errno);
    if (sent < 0) RETURN_IF_ERROR(WaitFor(POLLOUT, deadline));
    bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
  }
  return absl::OkStatus();
}

absl::Status PeerLink::ReceiveBytes(std::span<char> bytes, Clock::time_point deadline) {
  while (!bytes.empty()) {
    const ssize_t got = recv(socket_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got == 0) return Lost("cannot be heard", ECONNRESET);
    if (got < 0 && !MayTryAgain(errno)) return Lost("cannot be heard", errno);
    if (got < 0) RETURN_IF_ERROR(WaitFor(POLLIN, deadline));
    bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  }
  return absl::OkStatus();
}

absl::Status PeerLink::WaitFor(short events, Clock::time_point deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  pollfd wait = {};
  wait.fd = socket_;
  wait.events = events;
  const int ready = left.count() <= 0 ? 0 : poll(&wait, 1, static_cast<int>(left.count()));
  if (ready > 0 || (ready < 0 && errno == EINTR)) return absl::OkStatus();
  return absl::UnavailableError(
      absl::StrCat(peer_, " has kept a frame waiting for ", patience_.count(), " ms"));
}

// A process that ends, or is killed, with bytes that it has not read has its connections reset.
absl::Status PeerLink::Lost(const char* what, int error) const {
  if (error == ECONNRESET || error == EPIPE) {
    return absl::UnavailableError(absl::StrCat(peer_, " has closed its connection"));
  }
  return absl::UnavailableError(absl::StrCat(peer_, " ", what, ": ", std::strerror(error)));
}

}  // namespace thinkwire::worker::parallel
