#include "worker/parallel/frame.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/check.h"

namespace thinkwire::worker::parallel {
namespace {

constexpr std::string_view kMagic("TWG\1", 4);
constexpr std::size_t kKindAt = 4;
constexpr std::size_t kLengthAt = 8;
constexpr std::size_t kStepAt = 12;
constexpr std::size_t kChecksumAt = 20;

template <class Number>
void Write(Number number, char* at) {
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    at[i] = static_cast<char>(static_cast<unsigned char>(number >> (8 * i)));
  }
}

template <class Number>
Number Read(std::string_view bytes, std::size_t at) {
  Number number = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    number |= static_cast<Number>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
  }
  return number;
}

// FNV-1a, 64 bits, continued from `hash`.
std::uint64_t Hash(std::string_view bytes, std::uint64_t hash = 0xcbf29ce484222325U) {
  for (const char byte : bytes) {
    hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3U;
  }
  return hash;
}

std::array<char, kFrameHeadBytes> Encode(const FrameHead& head) {
  std::array<char, kFrameHeadBytes> bytes = {};
  std::copy(kMagic.begin(), kMagic.end(), bytes.begin());
  bytes[kKindAt] = static_cast<char>(head.kind);
  Write(head.length, &bytes[kLengthAt]);
  Write(head.step, &bytes[kStepAt]);
  Write(head.checksum, &bytes[kChecksumAt]);
  return bytes;
}

std::uint64_t ChecksumOf(const FrameHead& head, std::string_view payload) {
  const std::array<char, kFrameHeadBytes> bytes = Encode(head);
  return Hash(payload, Hash(std::string_view(bytes.data(), kChecksumAt)));
}

}  // namespace

std::array<char, kFrameHeadBytes> EncodeFrameHead(FrameKind kind, std::uint64_t step,
                                                  std::string_view payload) {
  CHECK(payload.size() <= UINT32_MAX, "a frame's payload is below 4 GiB");
  FrameHead head;
  head.kind = kind;
  head.length = static_cast<std::uint32_t>(payload.size());
  head.step = step;
  head.checksum = ChecksumOf(head, payload);
  return Encode(head);
}

absl::StatusOr<FrameHead> DecodeFrameHead(std::string_view bytes, std::size_t max_payload) {
  if (bytes.size() != kFrameHeadBytes || bytes.substr(0, kMagic.size()) != kMagic ||
      bytes.substr(kKindAt + 1, 3) != std::string_view("\0\0\0", 3)) {
    return absl::InvalidArgumentError("does not speak this version of a group's frames");
  }
  FrameHead head;
  head.kind = static_cast<FrameKind>(bytes[kKindAt]);
  if (head.kind < FrameKind::kPart || head.kind > kLastFrameKind) {
    return absl::InvalidArgumentError(
        absl::StrCat("sent a frame of the unknown kind ", static_cast<int>(bytes[kKindAt])));
  }
  head.length = Read<std::uint32_t>(bytes, kLengthAt);
  head.step = Read<std::uint64_t>(bytes, kStepAt);
  head.checksum = Read<std::uint64_t>(bytes, kChecksumAt);
  if (head.length > max_payload) {
    return absl::InvalidArgumentError(absl::StrCat(
        "announced a frame of ", head.length, " bytes, where at most ", max_payload, " can come"));
  }
  return head;
}

absl::Status CheckFrame(const FrameHead& head, std::string_view payload) {
  if (payload.size() == head.length && ChecksumOf(head, payload) == head.checksum) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      absl::StrCat("sent a frame of step ", head.step, " whose checksum is wrong"));
}

}  // namespace thinkwire::worker::parallel
