#include "common/rpc/frame_guard.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/rpc/http2_frames.h"
#include "common/status.h"

namespace thinkwire::rpc {
namespace {

using enum http2::FrameType;
using http2::kAck;
using http2::kEndStream;
using http2::kFrameHeader;

constexpr std::size_t kFrameBytes = 16 << 10;  // of those that a server takes

absl::Status TooMuch(absl::string_view what, double limit) {
  return absl::ResourceExhaustedError(absl::StrCat("a client sends more than ", limit, " ", what));
}

}  // namespace

void FrameBudget::Pass(double seconds) { Give(a_second_ * seconds); }

void FrameBudget::Give(double more) { left_ = std::min(left_ + more, burst_); }

bool FrameBudget::Take() {
  if (left_ < 1) return false;
  left_ -= 1;
  return true;
}

absl::Status FrameGuard::Take(std::span<const std::uint8_t> bytes, Clock::TimePoint now) {
  const double seconds = ToSeconds(now - seen_);
  seen_ = now;
  all_.Pass(seconds);
  spare_.Pass(seconds);
  pings_.Pass(seconds);
  while (!bytes.empty()) {
    if (to_skip_ > 0) {
      const std::size_t skipped = std::min(to_skip_, bytes.size());
      to_skip_ -= skipped;
      bytes = bytes.subspan(skipped);
      continue;
    }
    header_[has_++] = bytes.front();
    bytes = bytes.subspan(1);
    if (has_ == kFrameHeader) RETURN_IF_ERROR(Begin(ReadFrame()));
  }
  return absl::OkStatus();
}

FrameGuard::Frame FrameGuard::ReadFrame() const {
  const auto number = [this](std::size_t begin, std::size_t bytes) {
    std::uint32_t value = 0;
    for (std::size_t i = begin; i < begin + bytes; ++i) value = value << 8 | header_[i];
    return value;
  };
  return {.size = number(0, 3),
          .type = header_[3],
          .flags = header_[4],
          .stream = number(5, 4) & 0x7fffffff};
}

absl::Status FrameGuard::Begin(const Frame& frame) {
  has_ = 0;
  to_skip_ = frame.size;
  if (!all_.Take()) return TooMuch("frames a second", kMostASecond);
  if (frame.type == kPing && !pings_.Take()) return TooMuch("PINGs at once", kPingBurst);
  if (frame.type == kHeaders) BeginBlock(frame);
  if (IsSpare(frame) || (frame.type == kHeaders && !is_new_)) {
    if (!spare_.Take()) return TooMuch("frames a second that no call needs", kSpareASecond);
  }
  const bool of_headers = frame.type == kHeaders || frame.type == kContinuation;
  return of_headers ? TakeHeaders(frame) : absl::OkStatus();
}

void FrameGuard::BeginBlock(const Frame& frame) {
  block_frames_ = 0;
  is_new_ = frame.stream % 2 == 1 && frame.stream > last_stream_;
  if (!is_new_) return;
  last_stream_ = frame.stream;
  old_bytes_ = 0;
  spare_.Give(1);  // it may be reset
}

absl::Status FrameGuard::TakeHeaders(const Frame& frame) {
  const std::size_t frames = kMaxHeaderFrames + header_bytes_ / kFrameBytes;
  if (++block_frames_ > frames) {
    return TooMuch("frames of headers of one call", static_cast<double>(frames));
  }
  if (is_new_) return absl::OkStatus();
  old_bytes_ += frame.size;
  if (old_bytes_ <= header_bytes_) return absl::OkStatus();
  return TooMuch("bytes of headers on streams that have begun", static_cast<double>(header_bytes_));
}

bool FrameGuard::IsSpare(const Frame& frame) {
  switch (frame.type) {
    case kHeaders:
    case kContinuation:
    case kWindowUpdate:
      return false;
    case kData:
      return frame.size == 0 && (frame.flags & kEndStream) == 0;
    case kPing:
      return (frame.flags & kAck) != 0;
    default:
      return true;
  }
}

}  // namespace thinkwire::rpc
