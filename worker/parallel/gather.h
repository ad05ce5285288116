#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/parallel/group_key.h"
#include "worker/parallel/group_socket.h"
#include "worker/parallel/peer_link.h"
#include "worker/parallel/roll_call.h"

// How the processes of a group come together: one has rank 0 and leads, all others connect to it.
namespace thinkwire::worker::parallel {

// A process's part of a group, as it is told.
struct GroupPlace {
  std::int32_t first_rank = 0;
  std::int32_t num_ranks = 1;
  std::string leader;  // "host:port": where the leader listens, and the others find it
  GroupKey key;
  std::string version;  // of this build
};

// A silence after which the other end of a control connection is lost: a dozen of its beats.
inline constexpr std::chrono::milliseconds kMostSilence{6000};
// Of a rank's connection for sums. It may have to wait for whatever another rank computes; that
// its process lives is what the control connections watch, and that it goes on what the engine's
// stall watch does.
inline constexpr std::chrono::milliseconds kSumPatience{std::chrono::hours(24)};

// Connections whose greetings a leader hears at once; each has a thread meanwhile.
inline constexpr std::size_t kMaxVisitors = 64;

// Another process of the group, as its leader sees it.
struct Member {
  std::int32_t first_rank = 0;
  std::int32_t num_ranks = 1;
  std::unique_ptr<PeerLink> control;
};

struct Gathered {
  std::vector<Member> members;                  // by rank, ascending
  std::vector<std::unique_ptr<PeerLink>> sums;  // of the ranks after the leader's own; or none
};

// Waits, for as long as it takes, until the ranks of all other processes have connected, then tells
// each `word`. Says in the log who is missing. With `sums` each rank connects for its sums too.
// Who connects is heard beside others, up to kMaxVisitors at once, and a stranger is turned away
// when he has said something wrong, or nothing for 2 s: only where strangers fill all these places
// again and again do they hold up the start, and they never end it. Afterwards nobody is let in any
// more.
// Fails: in one sentence where a rank of the group cannot join it (RollCall), or has left again.
absl::StatusOr<Gathered> Gather(GroupListener& listener, const GroupKey& key,
                                const Greeting& leader, bool sums, std::string_view word);

struct Joined {
  std::unique_ptr<PeerLink> control;
  std::vector<std::unique_ptr<PeerLink>> sums;  // to rank 0, of each rank of this process; or none
  std::string word;                             // the leader's, to all
};

// Connects this process, whose `greeting` is for control, to its leader, and returns when the whole
// group is there. Waits for a leader that is not there yet for as long as it takes.
// Fails: as FollowerHandshake, or UNAVAILABLE once the leader that had taken it in is lost.
absl::StatusOr<Joined> Join(const GroupPlace& place, const Greeting& greeting, bool sums);

}  // namespace thinkwire::worker::parallel
