#include "tests/fakes/raw_http2.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/rpc/http2_frames.h"
#include "common/rpc/status_details.h"

namespace thinkwire {
namespace {

using enum rpc::http2::FrameType;
using rpc::http2::kAck;
using rpc::http2::kEndHeaders;
using rpc::http2::kEndStream;
using rpc::http2::kFrameHeader;

constexpr std::uint16_t kMaxStreams = 3;
constexpr std::uint16_t kInitialWindow = 4;
constexpr std::uint32_t kCancel = 8;
constexpr std::size_t kMaxPayload = 16384;

std::string BigEndian(std::uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out.push_back(static_cast<char>(value >> (8 * i)));
  return out;
}

std::uint32_t ReadBigEndian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

// A length with a prefix of 7 bits (RFC 7541, 5.1).
std::string HpackText(std::string_view text) {
  std::string out;
  std::size_t rest = text.size();
  if (rest < 127) {
    out.push_back(static_cast<char>(rest));
  } else {
    out.push_back(127);
    for (rest -= 127; rest >= 128; rest >>= 7) {
      out.push_back(static_cast<char>(rest % 128 + 128));
    }
    out.push_back(static_cast<char>(rest));
  }
  return absl::StrCat(out, absl::string_view(text.data(), text.size()));
}

// Literals without indexing, with new names (RFC 7541, 6.2.2).
std::string Hpack(const RawHttp2::Headers& headers) {
  std::string out;
  for (const auto& [name, value] : headers) {
    absl::StrAppend(&out, std::string(1, '\0'), HpackText(name), HpackText(value));
  }
  return out;
}

// "%20" as " ".
std::string PercentDecode(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += absl::HexStringToBytes(text.substr(i + 1, 2));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string Find(const RawHttp2::Headers& headers, std::string_view name) {
  const auto found =
      std::ranges::find_if(headers, [&](const auto& header) { return header.first == name; });
  return found == headers.end() ? "" : found->second;
}

sockaddr_in Address(const std::string& host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  EXPECT_EQ(inet_pton(AF_INET, host.c_str(), &address.sin_addr), 1) << host;
  return address;
}

nghttp2_hd_inflater* MakeInflater() {
  nghttp2_hd_inflater* inflater = nullptr;
  EXPECT_EQ(nghttp2_hd_inflate_new(&inflater), 0);
  return inflater;
}

std::optional<RawHttp2::Headers> Inflate(nghttp2_hd_inflater* inflater, const std::string& block) {
  RawHttp2::Headers headers;
  const auto* at = reinterpret_cast<const std::uint8_t*>(block.data());
  std::size_t left = block.size();
  while (true) {
    nghttp2_nv header{};
    int flags = 0;
    const ssize_t taken = nghttp2_hd_inflate_hd2(inflater, &header, &flags, at, left, 1);
    if (taken < 0) return std::nullopt;
    at += taken;
    left -= static_cast<std::size_t>(taken);
    if ((flags & NGHTTP2_HD_INFLATE_EMIT) != 0) {
      headers.emplace_back(
          std::string(reinterpret_cast<const char*>(header.name), header.namelen),
          std::string(reinterpret_cast<const char*>(header.value), header.valuelen));
    }
    if ((flags & NGHTTP2_HD_INFLATE_FINAL) != 0) break;
  }
  nghttp2_hd_inflate_end_headers(inflater);
  return headers;
}

int Milliseconds(Clock::Duration duration) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

std::vector<std::string> RawHttp2::Stream::Messages() const {
  std::vector<std::string> messages;
  std::string_view rest = data;
  while (rest.size() >= 5) {
    const std::uint32_t size = ReadBigEndian(rest.substr(1, 4));
    if (rest.size() < 5 + size) break;
    messages.emplace_back(rest.substr(5, size));
    rest.remove_prefix(5 + size);
  }
  return messages;
}

absl::Status RawHttp2::Stream::Status() const {
  int code = -1;
  if (!absl::SimpleAtoi(Find(trailers, "grpc-status"), &code)) {
    return absl::InternalError("the stream has no grpc-status");
  }
  std::string details;
  absl::Base64Unescape(Find(trailers, "grpc-status-details-bin"), &details);
  return rpc::FromGrpc(grpc::Status(static_cast<grpc::StatusCode>(code),
                                    PercentDecode(Find(trailers, "grpc-message")), details));
}

RawHttp2::RawHttp2(Options options)
    : options_(std::move(options)),
      socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
      inflater_(MakeInflater(), nghttp2_hd_inflate_del) {
  closed_ = !Connect();
  EXPECT_FALSE(closed_) << strerror(errno);
  SendBytes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
  SendFrame(
      {.type = kSettings, .payload = BigEndian(kInitialWindow, 2) + BigEndian(options_.window, 4)});
}

RawHttp2::~RawHttp2() = default;

bool RawHttp2::Connect() {
  if (const int bytes = options_.receive_buffer_bytes; bytes > 0) {
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  const int at_once = 1;  // small frames do not wait for an acknowledgement of those before
  setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof(at_once));
  const sockaddr_in source = Address(options_.source, 0);
  const sockaddr_in server = Address("127.0.0.1", options_.port);
  return bind(socket_.get(), reinterpret_cast<const sockaddr*>(&source), sizeof(source)) == 0 &&
         connect(socket_.get(), reinterpret_cast<const sockaddr*>(&server), sizeof(server)) == 0 &&
         fcntl(socket_.get(), F_SETFL, O_NONBLOCK) == 0;
}

std::string RawHttp2::GrpcMessage(std::string_view message) {
  return absl::StrCat(std::string(1, '\0'), BigEndian(message.size(), 4),
                      absl::string_view(message.data(), message.size()));
}

std::uint32_t RawHttp2::OpenCall(const std::string& path, const Headers& more) {
  const std::uint32_t stream = std::exchange(next_stream_, next_stream_ + 2);
  streams_[stream];
  send_windows_[stream] = first_send_window_;
  Headers headers = {{":method", "POST"}, {":scheme", "http"},
                     {":path", path},     {":authority", "localhost"},
                     {"te", "trailers"},  {"content-type", "application/grpc"}};
  headers.insert(headers.end(), more.begin(), more.end());
  SendFrame({.type = kHeaders, .flags = kEndHeaders, .stream = stream, .payload = Hpack(headers)});
  return stream;
}

std::uint32_t RawHttp2::Call(const std::string& path, std::string_view message,
                             const Headers& more) {
  const std::uint32_t stream = OpenCall(path, more);
  SendData(stream, GrpcMessage(message), /*end=*/true);
  return stream;
}

bool RawHttp2::SendData(std::uint32_t stream, std::string_view bytes, bool end) {
  do {
    if (!bytes.empty() && !WaitForWindow(stream)) return false;
    const std::size_t size =
        std::min({bytes.size(), kMaxPayload,
                  static_cast<std::size_t>(std::max<std::int64_t>(send_window_, 0)),
                  static_cast<std::size_t>(std::max<std::int64_t>(send_windows_[stream], 0))});
    const bool last = size == bytes.size();
    if (!SendFrame({.type = kData,
                    .flags = last && end ? kEndStream : std::uint8_t{0},
                    .stream = stream,
                    .payload = std::string(bytes.substr(0, size))})) {
      return false;
    }
    send_window_ -= static_cast<std::int64_t>(size);
    send_windows_[stream] -= static_cast<std::int64_t>(size);
    bytes.remove_prefix(size);
  } while (!bytes.empty());
  return true;
}

bool RawHttp2::WaitForWindow(std::uint32_t stream) {
  return ReadUntil([&] { return send_window_ > 0 && send_windows_[stream] > 0; });
}

void RawHttp2::Reset(std::uint32_t stream) {
  SendFrame({.type = kResetStream, .stream = stream, .payload = BigEndian(kCancel, 4)});
  send_windows_.erase(stream);
}

void RawHttp2::OpenWindow(std::uint32_t stream, std::uint32_t bytes) {
  SendFrame({.type = kWindowUpdate, .stream = stream, .payload = BigEndian(bytes, 4)});
}

bool RawHttp2::SendFrame(const Frame& frame) {
  return SendBytes(absl::StrCat(BigEndian(frame.payload.size(), 3), BigEndian(frame.type, 1),
                                BigEndian(frame.flags, 1), BigEndian(frame.stream, 4),
                                frame.payload));
}

// Reads while it waits, as the server may wait for that.
bool RawHttp2::SendBytes(std::string_view bytes) {
  while (!closed_ && !bytes.empty()) {
    const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EAGAIN) {
      pollfd ready{.fd = socket_.get(), .events = POLLIN | POLLOUT, .revents = 0};
      closed_ = poll(&ready, 1, Milliseconds(kPatience)) != 1;
      Receive();
    } else {
      closed_ = true;
    }
  }
  return !closed_;
}

bool RawHttp2::Read(Clock::Duration patience) {
  pollfd ready{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  if (closed_ || poll(&ready, 1, Milliseconds(patience)) != 1) return false;
  Receive();
  TakeFrames();
  return !closed_;
}

bool RawHttp2::ReadUntil(const std::function<bool()>& done, Clock::Duration patience) {
  const Clock::TimePoint give_up = Clock::Real().Now() + patience;
  TakeFrames();  // of what was received during a send
  while (!done()) {
    const Clock::Duration left = give_up - Clock::Real().Now();
    if (closed_ || left <= Clock::Duration::zero()) return false;
    Read(left + std::chrono::milliseconds(1));
  }
  return true;
}

bool RawHttp2::ReadUntilOver(std::uint32_t stream, Clock::Duration patience) {
  return ReadUntil([&] { return streams_[stream].over(); }, patience);
}

void RawHttp2::Receive() {
  std::array<char, 65536> bytes{};
  while (true) {
    const ssize_t got = recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (got <= 0) {
      closed_ = closed_ || got == 0 || errno != EAGAIN;
      return;
    }
    received_.append(bytes.data(), static_cast<std::size_t>(got));
  }
}

void RawHttp2::TakeFrames() {
  std::size_t at = 0;
  while (received_.size() - at >= kFrameHeader) {
    const std::string_view header = std::string_view(received_).substr(at, kFrameHeader);
    const std::size_t size = ReadBigEndian(header.substr(0, 3));
    if (received_.size() - at < kFrameHeader + size) break;
    Frame frame{.type = static_cast<std::uint8_t>(header[3]),
                .flags = static_cast<std::uint8_t>(header[4]),
                .stream = ReadBigEndian(header.substr(5, 4)),
                .payload = received_.substr(at + kFrameHeader, size)};
    at += kFrameHeader + size;
    Take(std::move(frame));
  }
  received_.erase(0, at);
}

void RawHttp2::Take(Frame frame) {
  switch (frame.type) {
    case kData:
      return TakeData(frame);
    case kHeaders:
    case kContinuation:
      return TakeHeaders(frame);
    case kSettings:
      return TakeSettings(frame);
    case kWindowUpdate:
      return TakeWindow(frame);
    case kResetStream:
      streams_[frame.stream].reset = true;
      streams_[frame.stream].reset_code = ReadBigEndian(frame.payload);
      send_windows_.erase(frame.stream);
      return;
    case kPing:
      if ((frame.flags & kAck) != 0) return;
      ++pings_;
      if (options_.answers_pings) {
        SendFrame({.type = kPing, .flags = kAck, .payload = std::move(frame.payload)});
      }
      return;
    case kGoAway:
      told_to_go_ = true;
      return;
    default:
      return;
  }
}

void RawHttp2::TakeHeaders(const Frame& frame) {
  headers_ += frame.payload;
  if (frame.type == kHeaders) headers_end_ = (frame.flags & kEndStream) != 0;
  if ((frame.flags & kEndHeaders) == 0) return;
  const auto headers = Inflate(inflater_.get(), std::exchange(headers_, ""));
  if (!headers) {
    ADD_FAILURE() << "the server's headers cannot be read";
    closed_ = true;
    return;
  }
  Stream& stream = streams_[frame.stream];
  (headers_end_ ? stream.trailers : stream.headers) = *headers;
  stream.ended |= headers_end_;
  if (headers_end_) send_windows_.erase(frame.stream);
}

void RawHttp2::TakeData(const Frame& frame) {
  Stream& stream = streams_[frame.stream];
  stream.data += frame.payload;
  stream.ended |= (frame.flags & kEndStream) != 0;
  if (!options_.reopens_windows || frame.payload.empty()) return;
  const auto bytes = static_cast<std::uint32_t>(frame.payload.size());
  OpenWindow(0, bytes);
  if (!stream.over()) OpenWindow(frame.stream, bytes);
}

void RawHttp2::TakeSettings(const Frame& frame) {
  if ((frame.flags & kAck) != 0) return;
  for (std::string_view rest = frame.payload; rest.size() >= 6; rest.remove_prefix(6)) {
    const std::uint32_t value = ReadBigEndian(rest.substr(2, 4));
    const std::uint32_t name = ReadBigEndian(rest.substr(0, 2));
    if (name == kMaxStreams) max_streams_ = value;
    if (name != kInitialWindow) continue;
    for (auto& [stream, window] : send_windows_) window += value - first_send_window_;
    first_send_window_ = value;
  }
  SendFrame({.type = kSettings, .flags = kAck});
}

void RawHttp2::TakeWindow(const Frame& frame) {
  const std::uint32_t bytes = ReadBigEndian(frame.payload);
  if (frame.stream == 0) {
    send_window_ += bytes;
  } else if (const auto found = send_windows_.find(frame.stream); found != send_windows_.end()) {
    found->second += bytes;
  }
}

}  // namespace thinkwire
