#include "worker/parallel/roll_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/status.h"

namespace thinkwire::worker::parallel {
namespace {

template <class Number>
void Append(Number number, std::string& bytes) {
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    bytes.push_back(static_cast<char>(static_cast<unsigned char>(number >> (8 * i))));
  }
}

void AppendText(std::string_view text, std::string& bytes) {
  Append(static_cast<std::uint32_t>(text.size()), bytes);
  bytes.append(text);
}

// Takes the first bytes off `bytes`; false: too few.
template <class Number>
bool Take(std::string_view& bytes, Number& number) {
  if (bytes.size() < sizeof(Number)) return false;
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(Number); ++i) {
    bits |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  number = static_cast<Number>(bits);
  bytes.remove_prefix(sizeof(Number));
  return true;
}

bool TakeText(std::string_view& bytes, std::string& text) {
  std::uint32_t length = 0;
  if (!Take(bytes, length) || length > bytes.size()) return false;
  text = bytes.substr(0, length);
  bytes.remove_prefix(length);
  return true;
}

// Takes as long whatever the bytes are, so that nobody finds a secret byte by byte. Its length is
// no secret.
bool SameSecret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  volatile unsigned char difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference = static_cast<unsigned char>(difference | static_cast<unsigned char>(a[i] ^ b[i]));
  }
  return difference == 0;
}

absl::Status Differs(std::string_view what, std::int32_t rank, std::string_view its,
                     std::string_view ours) {
  return absl::FailedPreconditionError(absl::StrCat("rank ", rank, " cannot join the group: its ",
                                                    std::string(what), " is ", std::string(its),
                                                    ", the leader's is ", std::string(ours)));
}

}  // namespace

std::string EncodeGreeting(const Greeting& greeting) {
  std::string bytes;
  AppendText(greeting.token, bytes);
  AppendText(greeting.version, bytes);
  AppendText(greeting.fingerprint, bytes);
  Append(static_cast<std::uint32_t>(greeting.size), bytes);
  Append(static_cast<std::uint32_t>(greeting.rank), bytes);
  Append(static_cast<std::uint64_t>(greeting.num_blocks), bytes);
  CHECK(bytes.size() <= kMaxGreetingBytes, "a greeting is short");
  return bytes;
}

std::optional<Greeting> DecodeGreeting(std::string_view bytes) {
  Greeting greeting;
  if (bytes.size() > kMaxGreetingBytes) return std::nullopt;
  const bool whole = TakeText(bytes, greeting.token) && TakeText(bytes, greeting.version) &&
                     TakeText(bytes, greeting.fingerprint) && Take(bytes, greeting.size) &&
                     Take(bytes, greeting.rank) && Take(bytes, greeting.num_blocks);
  if (!whole || !bytes.empty()) return std::nullopt;
  return greeting;
}

RollCall::RollCall(Greeting leader)
    : leader_(std::move(leader)),
      present_(static_cast<std::size_t>(std::max(leader_.size, 1))),
      num_blocks_(leader_.num_blocks) {
  CHECK(leader_.rank == 0 && leader_.size >= 1 && !leader_.token.empty(),
        "the leader has rank 0 of a group with a secret");
  present_[0] = true;
}

absl::Status RollCall::Admit(const Greeting& greeting) {
  if (!SameSecret(greeting.token, leader_.token)) {
    return absl::PermissionDeniedError("a stranger without the group's token");
  }
  RETURN_IF_ERROR(CheckSame(greeting));
  const auto rank = static_cast<std::size_t>(greeting.rank);
  if (present_[rank]) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", greeting.rank, " is in the group already: two processes have it"));
  }
  present_[rank] = true;
  num_blocks_ = std::min(num_blocks_, greeting.num_blocks);
  return absl::OkStatus();
}

absl::Status RollCall::CheckSame(const Greeting& greeting) const {
  const std::int32_t rank = greeting.rank;
  if (greeting.version != leader_.version) {
    return Differs("version", rank, greeting.version, leader_.version);
  }
  if (greeting.size != leader_.size) {
    return Differs("tensor_parallel_size", rank, absl::StrCat(greeting.size),
                   absl::StrCat(leader_.size));
  }
  if (greeting.fingerprint != leader_.fingerprint) {
    return Differs("fingerprint", rank, greeting.fingerprint, leader_.fingerprint);
  }
  if (rank < 0 || rank >= leader_.size) {
    return absl::FailedPreconditionError(absl::StrCat(
        "rank ", rank, " is not of the group, which has the ranks 0 to ", leader_.size - 1));
  }
  if (greeting.num_blocks >= 1) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("rank ", rank, " has memory for ", greeting.num_blocks, " KV blocks"));
}

std::vector<std::int32_t> RollCall::missing() const {
  std::vector<std::int32_t> ranks;
  for (std::size_t rank = 0; rank < present_.size(); ++rank) {
    if (!present_[rank]) ranks.push_back(static_cast<std::int32_t>(rank));
  }
  return ranks;
}

}  // namespace thinkwire::worker::parallel
