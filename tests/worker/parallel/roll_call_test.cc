#include "worker/parallel/roll_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>

namespace thinkwire::worker::parallel {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Greeting Of(std::int32_t rank, std::int32_t count = 1) {
  Greeting greeting;
  greeting.version = "0.1.0";
  greeting.fingerprint = "abc";
  greeting.limits = "max_num_seqs 4";
  greeting.size = 4;
  greeting.first_rank = rank;
  greeting.num_ranks = count;
  return greeting;
}

Greeting ForSums(std::int32_t rank) {
  Greeting greeting = Of(rank);
  greeting.use = LinkUse::kSums;
  return greeting;
}

// What the leader of four says to rank 1 that is as `change` made it.
absl::Status Judge(const std::function<void(Greeting&)>& change) {
  RollCall call(Of(0), false);
  Greeting greeting = Of(1);
  change(greeting);
  const absl::Status status = call.Admit(greeting);
  if (!status.ok()) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(call.missing(), ElementsAre(1, 2, 3));
  }
  return status;
}

TEST(RollCallTest, TakesProcessesInAnyOrder) {
  RollCall call(Of(0), false);
  EXPECT_THAT(call.missing(), ElementsAre(1, 2, 3));
  EXPECT_TRUE(call.Admit(Of(3)).ok());
  EXPECT_THAT(call.missing(), ElementsAre(1, 2));
  EXPECT_TRUE(call.Admit(Of(1, 2)).ok());
  EXPECT_THAT(call.missing(), IsEmpty());
}

TEST(RollCallTest, TheLeadersOwnRanksAreThere) {
  RollCall call(Of(0, 3), true);
  EXPECT_THAT(call.missing(), ElementsAre(3));
}

TEST(RollCallTest, WithSumsEachRankHasAConnectionMore) {
  RollCall call(Of(0, 2), true);
  EXPECT_TRUE(call.Admit(Of(2, 2)).ok());
  EXPECT_THAT(call.missing(), ElementsAre(2, 3));
  EXPECT_TRUE(call.Admit(ForSums(3)).ok());
  EXPECT_THAT(call.missing(), ElementsAre(2));
  EXPECT_EQ(call.Admit(ForSums(3)).message(),
            "rank 3 is in the group already: two processes have it");
  EXPECT_TRUE(call.Admit(ForSums(2)).ok());
  EXPECT_THAT(call.missing(), IsEmpty());
}

TEST(RollCallTest, SaysBothSidesOfWhatDiffers) {
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.version = "0.2.0"; }).message(),
            "rank 1 cannot join the group: its version is 0.2.0, the leader's is 0.1.0");
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.fingerprint = "abd"; }).message(),
            "rank 1 cannot join the group: its fingerprint is abd, the leader's is abc");
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.size = 2; }).message(),
            "rank 1 cannot join the group: its tensor_parallel_size is 2, the leader's is 4");
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.limits = "max_num_seqs 5"; }).message(),
            "rank 1 cannot join the group: its set of limits is max_num_seqs 5, the leader's is "
            "max_num_seqs 4");
}

TEST(RollCallTest, RefusesARankThatTheGroupDoesNotHave) {
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.first_rank = 4; }).message(),
            "the 1 rank(s) from 4 on are not of the group, which has the ranks 0 to 3");
  constexpr std::int32_t kMost = std::numeric_limits<std::int32_t>::max();
  for (const auto& [first, count] : {std::pair{-1, 1}, {1, 0}, {1, 4}, {1, -1}, {kMost, kMost}}) {
    const absl::Status status = Judge([&, first = first, count = count](Greeting& greeting) {
      greeting.first_rank = first;
      greeting.num_ranks = count;
    });
    EXPECT_FALSE(status.ok()) << first << " " << count;
  }
}

TEST(RollCallTest, RefusesARankThatTheGroupHasAlready) {
  RollCall call(Of(0), false);
  EXPECT_TRUE(call.Admit(Of(2)).ok());
  EXPECT_EQ(call.Admit(Of(1, 2)).message(),
            "rank 2 is in the group already: two processes have it");
  EXPECT_THAT(call.missing(), ElementsAre(1, 3));
  EXPECT_EQ(call.Admit(Of(0)).message(), "rank 0 is in the group already: two processes have it");
}

TEST(RollCallTest, RefusesSumsThatAreNoRanksOrNobodys) {
  EXPECT_THAT(
      std::string(Judge([](Greeting& greeting) { greeting.use = LinkUse::kSums; }).message()),
      HasSubstr("its ranks add up on the CPU, the leader's do not"));
  RollCall call(Of(0), true);
  Greeting both = Of(1, 2);
  both.use = LinkUse::kSums;
  EXPECT_EQ(call.Admit(both).message(),
            "ranks 1 to 2 cannot join the group: each rank has a connection of its own for its "
            "sums");
}

TEST(GreetingTest, ReadsWhatItWroteAndNothingElse) {
  const std::string bytes = EncodeGreeting(ForSums(2));
  const auto greeting = DecodeGreeting(bytes);
  ASSERT_TRUE(greeting.has_value());
  EXPECT_EQ(EncodeGreeting(*greeting), bytes);
  EXPECT_EQ(greeting->first_rank, 2);
  EXPECT_EQ(greeting->use, LinkUse::kSums);
  EXPECT_EQ(greeting->limits, "max_num_seqs 4");
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(DecodeGreeting(bytes.substr(0, length)).has_value()) << length;
  }
  EXPECT_FALSE(DecodeGreeting(bytes + "x").has_value());
  EXPECT_FALSE(DecodeGreeting(std::string(kMaxGreetingBytes + 1, '\0')).has_value());
}

TEST(GreetingTest, AUseThatThereIsNotIsNone) {
  std::string bytes = EncodeGreeting(ForSums(2));
  bytes[bytes.size() - 4] = 2;
  EXPECT_FALSE(DecodeGreeting(bytes).has_value());
}

TEST(GreetingTest, ATextThatClaimsMoreThanThereIsIsNone) {
  EXPECT_FALSE(DecodeGreeting(std::string(100, '\xff')).has_value());
}

}  // namespace
}  // namespace thinkwire::worker::parallel
