#include "worker/parallel/gather.h"

#include <algorithm>
#include <future>
#include <list>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/log.h"
#include "common/status.h"
#include "worker/parallel/handshake.h"

namespace thinkwire::worker::parallel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kStrangerPatience{2000};
constexpr std::chrono::milliseconds kAdmissionPatience{60'000};  // behind others at the door
constexpr std::chrono::milliseconds kLookEvery{200};
constexpr std::chrono::milliseconds kLookWhileGreeting{5};
constexpr std::chrono::seconds kTellEvery{10};
constexpr std::chrono::milliseconds kDialPatience{2000};
constexpr std::chrono::milliseconds kDialEvery{200};
constexpr std::size_t kMaxWordBytes = 4096;

// Somebody who has connected to the leader and is heard on a thread of his own.
// Owns: the connection, the thread. Threads: one.
class Visitor {
 public:
  Visitor(int socket, const GroupKey& key)
      : link_(std::make_unique<PeerLink>(socket, "whoever connected", kStrangerPatience)),
        handshake_(*link_, key),
        greeting_(std::async(std::launch::async, [this] { return handshake_.Hear(); })) {}
  ~Visitor() {
    if (greeting_.valid()) link_->ShutDown();  // he is not waited for
  }
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;

  bool is_heard() const {
    return greeting_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }
  // Once; waits until he is heard.
  absl::StatusOr<Greeting> greeting() { return greeting_.get(); }
  LeaderHandshake& handshake() { return handshake_; }
  std::unique_ptr<PeerLink> TakeLink() { return std::move(link_); }

 private:
  std::unique_ptr<PeerLink> link_;
  LeaderHandshake handshake_;
  std::future<absl::StatusOr<Greeting>> greeting_;  // the last: it uses all
};

// The leader's side of the door.
class Door {
 public:
  Door(GroupListener& listener, const GroupKey& key, const Greeting& leader, bool sums)
      : listener_(listener), key_(key), roll_call_(leader, sums) {
    if (sums) gathered_.sums.resize(static_cast<std::size_t>(leader.size - leader.num_ranks));
    own_ranks_ = leader.num_ranks;
  }

  absl::StatusOr<Gathered> WaitForAll() {
    while (!roll_call_.missing().empty()) {
      TellWhoIsMissing();
      Open();
      RETURN_IF_ERROR(JudgeWhoIsHeard());
      RETURN_IF_ERROR(CheckAllStay());
    }
    std::ranges::sort(gathered_.members, {}, &Member::first_rank);
    return std::move(gathered_);
  }

 private:
  // For whoever stands before it, while there is room behind it.
  void Open() {
    if (visitors_.size() >= kMaxVisitors) {
      std::this_thread::sleep_for(kLookWhileGreeting);
      return;
    }
    const auto socket = listener_.Accept(visitors_.empty() ? kLookEvery : kLookWhileGreeting);
    if (socket) visitors_.emplace_back(*socket, key_);
  }

  absl::Status JudgeWhoIsHeard() {
    for (auto visitor = visitors_.begin(); visitor != visitors_.end();) {
      if (!visitor->is_heard()) {
        ++visitor;
        continue;
      }
      RETURN_IF_ERROR(Judge(*visitor));
      visitor = visitors_.erase(visitor);
    }
    return absl::OkStatus();
  }

  void TellWhoIsMissing() {
    if (Clock::now() < tell_at_) return;
    tell_at_ = Clock::now() + kTellEvery;
    LogInfo("waiting for the group's ranks",
            {{"port", listener_.port()}, {"missing", absl::StrJoin(roll_call_.missing(), ", ")}});
  }

  // Lets in one of the group; a stranger is no error.
  absl::Status Judge(Visitor& visitor) {
    const absl::StatusOr<Greeting> greeting = visitor.greeting();
    if (absl::IsFailedPrecondition(greeting.status())) return greeting.status();
    if (!greeting.ok()) {
      LogWarning("turned away at the group's door", {{"why", greeting.status().ToString()}});
      return absl::OkStatus();
    }
    const absl::Status judged = roll_call_.Admit(*greeting);
    if (!judged.ok())
      visitor.handshake().Refuse({judged.message().data(), judged.message().size()});
    RETURN_IF_ERROR(judged);
    RETURN_IF_ERROR(visitor.handshake().Admit());
    Keep(*greeting, visitor.TakeLink());
    return absl::OkStatus();
  }

  void Keep(const Greeting& greeting, std::unique_ptr<PeerLink> link) {
    const std::string name = NameOfRanks(greeting.first_rank, greeting.num_ranks);
    if (greeting.use == LinkUse::kSums) {
      link->Know(name, kSumPatience);
      gathered_.sums[static_cast<std::size_t>(greeting.first_rank - own_ranks_)] = std::move(link);
      return;
    }
    link->Know(name, kMostSilence);
    LogInfo("joined the group", {{"ranks", name}});
    gathered_.members.push_back({greeting.first_rank, greeting.num_ranks, std::move(link)});
  }

  absl::Status CheckAllStay() const {
    for (const Member& member : gathered_.members) {
      if (!member.control->HasClosed()) continue;
      return absl::UnavailableError(
          absl::StrCat(member.control->peer(), " has left the group before it was whole"));
    }
    return absl::OkStatus();
  }

  GroupListener& listener_;
  const GroupKey& key_;
  RollCall roll_call_;
  std::int32_t own_ranks_ = 0;
  Gathered gathered_;
  std::list<Visitor> visitors_;
  Clock::time_point tell_at_;
};

std::unique_ptr<PeerLink> LinkTo(int socket, std::chrono::milliseconds patience) {
  return std::make_unique<PeerLink>(socket, "the leader", patience);
}

// A connection that the leader has taken in, or why it cannot be had now (UNAVAILABLE) or at all.
absl::StatusOr<std::unique_ptr<PeerLink>> Connect(const GroupPlace& place,
                                                  const Greeting& greeting) {
  ASSIGN_OR_RETURN(const int socket, DialGroup(place.leader, kDialPatience));
  std::unique_ptr<PeerLink> link = LinkTo(socket, kAdmissionPatience);
  RETURN_IF_ERROR(FollowerHandshake(*link, place.key).Greet(greeting));
  link->Know("the leader", greeting.use == LinkUse::kSums ? kSumPatience : kMostSilence);
  return link;
}

absl::StatusOr<std::unique_ptr<PeerLink>> ConnectWhenThere(const GroupPlace& place,
                                                           const Greeting& greeting) {
  Clock::time_point tell_at;
  for (;;) {
    auto link = Connect(place, greeting);
    if (!absl::IsUnavailable(link.status())) return link;
    if (Clock::now() >= tell_at) {
      tell_at = Clock::now() + kTellEvery;
      LogInfo("waiting for the group's leader",
              {{"leader", place.leader}, {"why", link.status().ToString()}});
    }
    std::this_thread::sleep_for(kDialEvery);
  }
}

}  // namespace

absl::StatusOr<Gathered> Gather(GroupListener& listener, const GroupKey& key,
                                const Greeting& leader, bool sums, std::string_view word) {
  ASSIGN_OR_RETURN(Gathered gathered, Door(listener, key, leader, sums).WaitForAll());
  for (const Member& member : gathered.members) {
    RETURN_IF_ERROR(member.control->Send(FrameKind::kComplete, 0, word));
  }
  return gathered;
}

absl::StatusOr<Joined> Join(const GroupPlace& place, const Greeting& greeting, bool sums) {
  Joined joined;
  ASSIGN_OR_RETURN(joined.control, ConnectWhenThere(place, greeting));
  LogInfo("joined the group", {{"leader", place.leader}});
  for (std::int32_t i = 0; sums && i < greeting.num_ranks; ++i) {
    Greeting of_rank = greeting;
    of_rank.first_rank += i;
    of_rank.num_ranks = 1;
    of_rank.use = LinkUse::kSums;
    ASSIGN_OR_RETURN(std::unique_ptr<PeerLink> link, Connect(place, of_rank));
    joined.sums.push_back(std::move(link));
  }
  joined.control->Know("the leader", kSumPatience);  // others may come in an hour
  ASSIGN_OR_RETURN(Frame complete, joined.control->ReceiveAny(kMaxWordBytes));
  if (complete.kind != FrameKind::kComplete) {
    return absl::InvalidArgumentError("the leader has not said that its group is whole");
  }
  joined.control->Know("the leader", kMostSilence);
  joined.word = std::move(complete.payload);
  return joined;
}

}  // namespace thinkwire::worker::parallel
