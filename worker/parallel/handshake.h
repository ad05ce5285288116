#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/parallel/group_key.h"
#include "worker/parallel/peer_link.h"
#include "worker/parallel/roll_call.h"

// How the two ends of a new connection find out about each other, before anything else is said.
// Each signs what the other has drawn for this connection alone, so that what somebody has heard is
// of no use to him:
//
//   leader    kChallenge  a nonce
//   follower  kGreeting   a nonce, a signature of both nonces and the greeting, the greeting
//   leader    kAdmitted   a signature of both nonces
//          or kRefused    a signature of both nonces and the sentence, the sentence
//
// It tells who is there, and no more: later frames are neither signed nor encrypted, so that a
// group's network is to be one where nobody reads or writes on the way.
namespace thinkwire::worker::parallel {

// The leader's end of one connection. `link` and `key` must outlive it. Threads: one.
class LeaderHandshake {
 public:
  LeaderHandshake(PeerLink& link, const GroupKey& key) : link_(link), key_(key) {}

  // Challenges, and waits for the greeting. Fails: PERMISSION_DENIED for whoever lacks the token,
  // which is a stranger; as PeerLink.
  absl::StatusOr<Greeting> Hear();

  absl::Status Admit();

  // Says why, to whoever still listens.
  void Refuse(std::string_view sentence);

 private:
  PeerLink& link_;
  const GroupKey& key_;
  std::string nonces_;  // the leader's, then the follower's
};

// The follower's end. Likewise.
class FollowerHandshake {
 public:
  FollowerHandshake(PeerLink& link, const GroupKey& key) : link_(link), key_(key) {}

  // Returns when the leader has taken this process's connection in.
  // Fails: FAILED_PRECONDITION in the leader's words where it refuses, and where it lacks the
  // token; INVALID_ARGUMENT it is no leader of a group; as PeerLink where it is gone.
  absl::Status Greet(const Greeting& greeting);

 private:
  absl::Status HearAnswer();

  PeerLink& link_;
  const GroupKey& key_;
  std::string nonces_;
};

}  // namespace thinkwire::worker::parallel
