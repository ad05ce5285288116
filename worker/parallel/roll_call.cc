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

absl::Status CannotJoin(const Greeting& greeting, const std::string& why) {
  return absl::FailedPreconditionError(absl::StrCat(
      NameOfRanks(greeting.first_rank, greeting.num_ranks), " cannot join the group: ", why));
}

absl::Status Differs(const Greeting& greeting, const std::string& what, const std::string& its,
                     const std::string& ours) {
  return CannotJoin(greeting, absl::StrCat("its ", what, " is ", its, ", the leader's is ", ours));
}

}  // namespace

std::string NameOfRanks(std::int32_t first, std::int32_t count) {
  if (count == 1) return absl::StrCat("rank ", first);
  return absl::StrCat("ranks ", first, " to ", std::int64_t{first} + count - 1);
}

std::string EncodeGreeting(const Greeting& greeting) {
  std::string bytes;
  AppendText(greeting.version, bytes);
  AppendText(greeting.fingerprint, bytes);
  AppendText(greeting.limits, bytes);
  Append(static_cast<std::uint32_t>(greeting.size), bytes);
  Append(static_cast<std::uint32_t>(greeting.first_rank), bytes);
  Append(static_cast<std::uint32_t>(greeting.num_ranks), bytes);
  Append(static_cast<std::uint32_t>(greeting.use), bytes);
  CHECK(bytes.size() <= kMaxGreetingBytes, "a greeting is short");
  return bytes;
}

std::optional<Greeting> DecodeGreeting(std::string_view bytes) {
  Greeting greeting;
  std::uint32_t use = 0;
  if (bytes.size() > kMaxGreetingBytes) return std::nullopt;
  const bool whole = TakeText(bytes, greeting.version) && TakeText(bytes, greeting.fingerprint) &&
                     TakeText(bytes, greeting.limits) && Take(bytes, greeting.size) &&
                     Take(bytes, greeting.first_rank) && Take(bytes, greeting.num_ranks) &&
                     Take(bytes, use);
  if (!whole || !bytes.empty() || use > static_cast<std::uint32_t>(LinkUse::kSums)) {
    return std::nullopt;
  }
  greeting.use = static_cast<LinkUse>(use);
  return greeting;
}

RollCall::RollCall(Greeting leader, bool sums)
    : leader_(std::move(leader)),
      sums_(sums),
      controlled_(static_cast<std::size_t>(std::max(leader_.size, 1))),
      summing_(controlled_.size(), !sums) {
  CHECK(leader_.first_rank == 0 && leader_.num_ranks >= 1 && leader_.num_ranks <= leader_.size,
        "the leader has rank 0 and others of its group");
  std::fill_n(controlled_.begin(), leader_.num_ranks, true);
  std::fill_n(summing_.begin(), leader_.num_ranks, true);
}

absl::Status RollCall::Admit(const Greeting& greeting) {
  RETURN_IF_ERROR(CheckSame(greeting));
  RETURN_IF_ERROR(CheckRanks(greeting));
  RETURN_IF_ERROR(CheckUse(greeting));
  std::vector<bool>& present = PresentFor(greeting.use);
  for (std::int32_t rank = greeting.first_rank; rank < greeting.first_rank + greeting.num_ranks;
       ++rank) {
    if (!present[static_cast<std::size_t>(rank)]) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", rank, " is in the group already: two processes have it"));
  }
  std::fill_n(present.begin() + greeting.first_rank, greeting.num_ranks, true);
  return absl::OkStatus();
}

absl::Status RollCall::CheckSame(const Greeting& greeting) const {
  if (greeting.version != leader_.version) {
    return Differs(greeting, "version", greeting.version, leader_.version);
  }
  if (greeting.size != leader_.size) {
    return Differs(greeting, "tensor_parallel_size", absl::StrCat(greeting.size),
                   absl::StrCat(leader_.size));
  }
  if (greeting.fingerprint != leader_.fingerprint) {
    return Differs(greeting, "fingerprint", greeting.fingerprint, leader_.fingerprint);
  }
  if (greeting.limits == leader_.limits) return absl::OkStatus();
  return Differs(greeting, "set of limits", greeting.limits, leader_.limits);
}

absl::Status RollCall::CheckRanks(const Greeting& greeting) const {
  const std::int32_t first = greeting.first_rank;
  const std::int32_t count = greeting.num_ranks;
  // In this order, so that no sum overflows.
  const bool ours =
      first >= 0 && first < leader_.size && count >= 1 && count <= leader_.size - first;
  if (ours) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("the ", count, " rank(s) from ", first,
                   " on are not of the group, which has the ranks 0 to ", leader_.size - 1));
}

absl::Status RollCall::CheckUse(const Greeting& greeting) const {
  if (greeting.use == LinkUse::kControl) return absl::OkStatus();
  if (!sums_) return CannotJoin(greeting, "its ranks add up on the CPU, the leader's do not");
  if (greeting.num_ranks == 1) return absl::OkStatus();
  return CannotJoin(greeting, "each rank has a connection of its own for its sums");
}

std::vector<std::int32_t> RollCall::missing() const {
  std::vector<std::int32_t> ranks;
  for (std::size_t rank = 0; rank < controlled_.size(); ++rank) {
    if (!controlled_[rank] || !summing_[rank]) ranks.push_back(static_cast<std::int32_t>(rank));
  }
  return ranks;
}

}  // namespace thinkwire::worker::parallel
