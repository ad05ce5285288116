#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace thinkwire::worker::parallel {

// What a rank says first to the group's leader, over a connection that anybody can have opened.
struct Greeting {
  std::string token;        // the group's shared secret
  std::string version;      // of the build: frames and plans have no other
  std::string fingerprint;  // of the model as this rank computes it
  std::int32_t size = 0;    // ranks of the group
  std::int32_t rank = 0;
  std::int64_t num_blocks = 0;  // KV blocks that this rank has memory for
};

// Bytes that a greeting has at most, for whoever reads one from a stranger.
inline constexpr std::size_t kMaxGreetingBytes = 4096;

// The form: three texts, each its length (u32) and its bytes, then size and rank (u32) and
// num_blocks (u64), little-endian. REQUIRES: together at most kMaxGreetingBytes.
std::string EncodeGreeting(const Greeting& greeting);

// The greeting that EncodeGreeting gave these bytes for. None where they are not exactly one.
std::optional<Greeting> DecodeGreeting(std::string_view bytes);

// Calls the ranks of a group together, and judges who may come in. Pure: it has no socket, and is
// for the leader of ranks in several processes, which no option opens.
// Threads: one at a time.
class RollCall {
 public:
  // `leader` is rank 0's own greeting. REQUIRES: its rank is 0, its size at least 1, its token is
  // not empty.
  explicit RollCall(Greeting leader);

  // Takes the rank in. Fails: PERMISSION_DENIED for what lacks the token, which is a stranger, to
  // be hung up on and forgotten; FAILED_PRECONDITION, in one sentence that names the rank and both
  // sides, for a rank of the group with which it cannot start: another version, fingerprint or
  // size, a rank that the group does not have or has already, no memory for a block.
  absl::Status Admit(const Greeting& greeting);

  // The ranks that are still to come, ascending.
  std::vector<std::int32_t> missing() const;

  // What every rank that has come has memory for.
  std::int64_t num_blocks() const { return num_blocks_; }

 private:
  absl::Status CheckSame(const Greeting& greeting) const;

  const Greeting leader_;
  std::vector<bool> present_;  // by rank
  std::int64_t num_blocks_;
};

}  // namespace thinkwire::worker::parallel
