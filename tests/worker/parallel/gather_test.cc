// Processes of a group that come together over this machine's loopback: a thread stands for each.
#include "worker/parallel/gather.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "worker/parallel/handshake.h"

namespace thinkwire::worker::parallel {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr char kToken[] = "sixteen bytes or more";
constexpr std::chrono::milliseconds kPatience{60'000};

Greeting Of(std::int32_t first, std::int32_t count) {
  return {.version = "1",
          .fingerprint = "f",
          .limits = "l",
          .size = 4,
          .first_rank = first,
          .num_ranks = count,
          .use = LinkUse::kControl};
}

// A leader of ranks 0 and 1 of four, that gathers the others on a thread of its own.
class GatherTest : public testing::Test {
 protected:
  void SetUp() override {
    auto listener = GroupListener::Open("127.0.0.1:0");
    ASSERT_TRUE(listener.ok()) << listener.status();
    listener_ = *std::move(listener);
  }

  std::future<absl::StatusOr<Gathered>> GatherAll(bool sums) {
    return std::async(std::launch::async, [this, sums] {
      return Gather(*listener_, key_, Of(0, 2), sums, "the word");
    });
  }
  GroupPlace Place(const char* token = kToken) const {
    return {.first_rank = 2,
            .num_ranks = 2,
            .leader = Address(),
            .key = GroupKey(token),
            .version = "1"};
  }
  std::string Address() const { return absl::StrCat("127.0.0.1:", listener_->port()); }

  // A stranger's connection over which `bytes` were sent.
  PeerLink Say(const std::string& bytes) {
    const auto socket = DialGroup(Address(), kPatience);
    EXPECT_TRUE(socket.ok()) << socket.status();
    EXPECT_EQ(send(*socket, bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
    return PeerLink(*socket, "the leader", kPatience);
  }

  const GroupKey key_{kToken};
  std::unique_ptr<GroupListener> listener_;
};

void ExpectFrames(PeerLink& from, PeerLink& to) {
  ASSERT_TRUE(from.Send(FrameKind::kBeat, 7, std::string("beat")).ok());
  const auto frame = to.ReceiveAny(4);
  ASSERT_TRUE(frame.ok()) << frame.status();
  EXPECT_EQ(frame->kind, FrameKind::kBeat);
  EXPECT_EQ(frame->step, 7U);
  EXPECT_EQ(frame->payload, "beat");
}

TEST_F(GatherTest, BringsProcessesTogetherAndTellsEachTheWord) {
  auto leader = GatherAll(false);
  auto second = std::async(std::launch::async, [&] { return Join(Place(), Of(3, 1), false); });
  const auto first = Join(Place(), Of(2, 1), false);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->word, "the word");
  EXPECT_THAT(first->sums, SizeIs(0));
  auto gathered = leader.get();
  ASSERT_TRUE(gathered.ok()) << gathered.status();
  ASSERT_THAT(gathered->members, SizeIs(2));
  EXPECT_EQ(gathered->members[0].first_rank, 2);
  EXPECT_EQ(gathered->members[1].first_rank, 3);
  const auto other = second.get();
  ASSERT_TRUE(other.ok()) << other.status();
  ExpectFrames(*first->control, *gathered->members[0].control);
  ExpectFrames(*gathered->members[1].control, *other->control);
}

TEST_F(GatherTest, GivesEachRankOfAnotherProcessAConnectionForItsSums) {
  auto leader = GatherAll(true);
  const auto joined = Join(Place(), Of(2, 2), true);
  ASSERT_TRUE(joined.ok()) << joined.status();
  ASSERT_THAT(joined->sums, SizeIs(2));
  auto gathered = leader.get();
  ASSERT_TRUE(gathered.ok()) << gathered.status();
  ASSERT_THAT(gathered->sums, SizeIs(2));
  for (const std::size_t i : {0, 1}) ExpectFrames(*joined->sums[i], *gathered->sums[i]);
}

TEST_F(GatherTest, AFollowerWaitsForALeaderThatIsNotThereYet) {
  const GroupPlace place = Place();
  listener_.reset();
  auto follower = std::async(std::launch::async, [&] { return Join(place, Of(2, 2), false); });
  auto listener = GroupListener::Open(place.leader);
  ASSERT_TRUE(listener.ok()) << listener.status();
  listener_ = *std::move(listener);
  EXPECT_TRUE(GatherAll(false).get().ok());
  EXPECT_TRUE(follower.get().ok());
}

TEST_F(GatherTest, BothSidesOfADifferenceAreToldToBoth) {
  auto leader = GatherAll(false);
  Greeting greeting = Of(2, 2);
  greeting.fingerprint = "g";
  const absl::Status follower = Join(Place(), greeting, false).status();
  const absl::Status gathered = leader.get().status();
  EXPECT_EQ(gathered.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(gathered.message(),
            "ranks 2 to 3 cannot join the group: its fingerprint is g, the leader's is f");
  EXPECT_EQ(follower.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(follower.message(), absl::StrCat("the leader refuses: ", gathered.message()));
}

TEST_F(GatherTest, StrangersAreTurnedAwayAndTheGroupComesTogether) {
  auto leader = GatherAll(false);
  {
    PeerLink garbage = Say("GET / HTTP/1.1\r\nHost: a.group.of.four\r\n\r\n");
    PeerLink gone = Say("TWG");
  }
  const absl::Status stranger = Join(Place("another token, too"), Of(2, 2), false).status();
  EXPECT_EQ(stranger.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(stranger.message(), "the leader has another token than this process");
  EXPECT_TRUE(Join(Place(), Of(2, 2), false).ok());
  EXPECT_TRUE(leader.get().ok());
}

// One after another they would take 2 s each.
TEST_F(GatherTest, SilentStrangersAreHeardBesideWhoeverBelongsToTheGroup) {
  auto leader = GatherAll(true);
  std::vector<std::unique_ptr<PeerLink>> strangers;
  for (std::size_t i = 0; i + 1 < kMaxVisitors; ++i) {
    const auto socket = DialGroup(Address(), kPatience);
    ASSERT_TRUE(socket.ok()) << socket.status();
    strangers.push_back(std::make_unique<PeerLink>(*socket, "the leader", kPatience));
  }
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_TRUE(Join(Place(), Of(2, 2), true).ok());
  EXPECT_TRUE(leader.get().ok());
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
}

TEST_F(GatherTest, MoreStrangersThanAreHeardAtOnceHoldUpTheStartAndDoNotEndIt) {
  auto leader = GatherAll(false);
  std::vector<std::unique_ptr<PeerLink>> strangers;
  for (std::size_t i = 0; i < kMaxVisitors + 1; ++i) {
    const auto socket = DialGroup(Address(), kPatience);
    ASSERT_TRUE(socket.ok()) << socket.status();
    strangers.push_back(std::make_unique<PeerLink>(*socket, "the leader", kPatience));
  }
  EXPECT_TRUE(Join(Place(), Of(2, 2), false).ok());
  EXPECT_TRUE(leader.get().ok());
}

TEST_F(GatherTest, WhoLeavesBeforeTheGroupIsWholeEndsIt) {
  auto leader = GatherAll(false);
  {
    const auto socket = DialGroup(Address(), kPatience);
    ASSERT_TRUE(socket.ok()) << socket.status();
    PeerLink link(*socket, "the leader", kPatience);
    EXPECT_TRUE(FollowerHandshake(link, key_).Greet(Of(3, 1)).ok());
  }
  const absl::Status gathered = leader.get().status();
  EXPECT_EQ(gathered.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(gathered.message(), "rank 3 has left the group before it was whole");
}

// What was said over one connection is of no use on another.
TEST_F(GatherTest, ARecordedGreetingIsAStrangers) {
  std::string greeting;
  {
    int sockets[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    PeerLink tap(sockets[0], "a tap", kPatience);
    PeerLink end(sockets[1], "the leader", kPatience);
    auto greeter = std::async(std::launch::async,
                              [&] { return FollowerHandshake(end, key_).Greet(Of(2, 2)); });
    ASSERT_TRUE(tap.Send(FrameKind::kChallenge, 0, NewNonce()).ok());
    const auto frame = tap.ReceiveAny(8192);
    ASSERT_TRUE(frame.ok()) << frame.status();
    greeting = frame->payload;
    tap.ShutDown();
    EXPECT_FALSE(greeter.get().ok());
  }
  auto leader = GatherAll(false);
  {
    PeerLink replay = Say("");
    ASSERT_TRUE(replay.ReceiveAny(kNonceBytes).ok());
    ASSERT_TRUE(replay.Send(FrameKind::kGreeting, 0, greeting).ok());
    const auto answer = replay.ReceiveAny(8192);
    ASSERT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->kind, FrameKind::kRefused);
    EXPECT_THAT(answer->payload, HasSubstr("a stranger"));
  }
  EXPECT_TRUE(Join(Place(), Of(2, 2), false).ok());
  EXPECT_TRUE(leader.get().ok());
}

TEST(GroupSocketTest, SaysWhatCannotBeHad) {
  EXPECT_TRUE(absl::IsInvalidArgument(GroupListener::Open("nowhere").status()));
  const auto listener = GroupListener::Open("127.0.0.1:0");
  ASSERT_TRUE(listener.ok()) << listener.status();
  const std::string address = absl::StrCat("127.0.0.1:", (*listener)->port());
  EXPECT_EQ(GroupListener::Open(address).status().message(),
            absl::StrCat(address, ": Address already in use"));
  EXPECT_EQ((*listener)->Accept(std::chrono::milliseconds(1)), std::nullopt);
}

}  // namespace
}  // namespace thinkwire::worker::parallel
