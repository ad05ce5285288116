#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace thinkwire::worker::parallel {

// What a connection to the group's leader is for.
enum class LinkUse : std::uint8_t {
  kControl,  // of a process: plans, signs of life
  kSums,     // of one rank: its part of the sums, where ranks are not GPUs
};

// What the process of some ranks says of itself to the group's leader.
struct Greeting {
  std::string version;      // of the build: frames and plans have no other
  std::string fingerprint;  // of the model as these ranks compute it
  std::string limits;       // the options that must be the same in all processes, in words
  std::int32_t size = 0;    // ranks of the group
  std::int32_t first_rank = 0;
  std::int32_t num_ranks = 1;  // from there on: what the connection is for
  LinkUse use = LinkUse::kControl;
};

// Bytes that a greeting has at most, for whoever reads one from a stranger.
inline constexpr std::size_t kMaxGreetingBytes = 4096;

// "rank 3", "ranks 4 to 7".
std::string NameOfRanks(std::int32_t first, std::int32_t count);

// The form: three texts, each its length (u32) and its bytes, then size, first_rank, num_ranks and
// use (u32), little-endian. REQUIRES: together at most kMaxGreetingBytes.
std::string EncodeGreeting(const Greeting& greeting);

// The greeting that EncodeGreeting gave these bytes for. None where they are not exactly one.
std::optional<Greeting> DecodeGreeting(std::string_view bytes);

// Calls the ranks of a group together, and judges who may come in. Pure: it has no socket, and
// whoever greets has the group's token already.
// Threads: one at a time.
class RollCall {
 public:
  // `leader` is the greeting of the process that has rank 0. With `sums` each rank of another
  // process has a connection for its sums too. REQUIRES: its ranks are of its group.
  RollCall(Greeting leader, bool sums);

  // Takes the connection in. Fails: FAILED_PRECONDITION, in one sentence that names the rank and
  // both sides, for ranks with which the group cannot start: another version, fingerprint, size or
  // limits, a rank that the group does not have or has already, a connection that is of no use.
  absl::Status Admit(const Greeting& greeting);

  // The ranks that lack a connection still, ascending.
  std::vector<std::int32_t> missing() const;

 private:
  absl::Status CheckSame(const Greeting& greeting) const;
  absl::Status CheckRanks(const Greeting& greeting) const;
  absl::Status CheckUse(const Greeting& greeting) const;
  std::vector<bool>& PresentFor(LinkUse use) {
    return use == LinkUse::kSums ? summing_ : controlled_;
  }

  const Greeting leader_;
  const bool sums_;
  std::vector<bool> controlled_;  // by rank: it has come, for this use
  std::vector<bool> summing_;
};

}  // namespace thinkwire::worker::parallel
