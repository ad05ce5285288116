#include "worker/parallel/roll_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace thinkwire::worker::parallel {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Greeting Of(std::int32_t rank) {
  Greeting greeting;
  greeting.token = "open sesame";
  greeting.version = "0.1.0";
  greeting.fingerprint = "abc";
  greeting.size = 3;
  greeting.rank = rank;
  greeting.num_blocks = 100 - rank;
  return greeting;
}

// What the leader of three says to rank 1 that is as `change` made it.
absl::Status Judge(const std::function<void(Greeting&)>& change) {
  RollCall call(Of(0));
  Greeting greeting = Of(1);
  change(greeting);
  const absl::Status status = call.Admit(greeting);
  if (!status.ok()) {
    EXPECT_THAT(call.missing(), ElementsAre(1, 2));
    EXPECT_EQ(call.num_blocks(), 100);
  }
  return status;
}

TEST(RollCallTest, TakesRanksInAnyOrderAndAgreesOnTheLeastBlocks) {
  RollCall call(Of(0));
  EXPECT_THAT(call.missing(), ElementsAre(1, 2));
  EXPECT_TRUE(call.Admit(Of(2)).ok());
  EXPECT_THAT(call.missing(), ElementsAre(1));
  EXPECT_TRUE(call.Admit(Of(1)).ok());
  EXPECT_THAT(call.missing(), IsEmpty());
  EXPECT_EQ(call.num_blocks(), 98);
}

TEST(RollCallTest, KnowsAStrangerByItsTokenBeforeAllElse) {
  for (const std::string token : {"", "open sesamE", "open sesam", "open sesame!"}) {
    const absl::Status status = Judge([&](Greeting& greeting) {
      greeting.token = token;
      greeting.version = "9";
    });
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << token;
  }
}

TEST(RollCallTest, SaysBothSidesOfWhatDiffers) {
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.version = "0.2.0"; }).message(),
            "rank 1 cannot join the group: its version is 0.2.0, the leader's is 0.1.0");
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.fingerprint = "abd"; }).message(),
            "rank 1 cannot join the group: its fingerprint is abd, the leader's is abc");
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.size = 2; }).message(),
            "rank 1 cannot join the group: its tensor_parallel_size is 2, the leader's is 3");
}

TEST(RollCallTest, RefusesARankThatTheGroupDoesNotHaveOrHasAlready) {
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.rank = 3; }).message(),
            "rank 3 is not of the group, which has the ranks 0 to 2");
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.rank = -1; }).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.rank = 0; }).message(),
            "rank 0 is in the group already: two processes have it");
}

TEST(RollCallTest, RefusesARankWithoutMemoryForABlock) {
  EXPECT_EQ(Judge([](Greeting& greeting) { greeting.num_blocks = 0; }).message(),
            "rank 1 has memory for 0 KV blocks");
}

TEST(GreetingTest, ReadsWhatItWroteAndNothingElse) {
  const std::string bytes = EncodeGreeting(Of(2));
  const auto greeting = DecodeGreeting(bytes);
  ASSERT_TRUE(greeting.has_value());
  EXPECT_EQ(EncodeGreeting(*greeting), bytes);
  EXPECT_EQ(greeting->rank, 2);
  EXPECT_EQ(greeting->num_blocks, 98);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(DecodeGreeting(bytes.substr(0, length)).has_value()) << length;
  }
  EXPECT_FALSE(DecodeGreeting(bytes + "x").has_value());
  EXPECT_FALSE(DecodeGreeting(std::string(kMaxGreetingBytes + 1, '\0')).has_value());
}

TEST(GreetingTest, ATextThatClaimsMoreThanThereIsIsNone) {
  EXPECT_FALSE(DecodeGreeting(std::string(100, '\xff')).has_value());
}

}  // namespace
}  // namespace thinkwire::worker::parallel
