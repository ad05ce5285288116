#include "worker/engine/token_stream.h"

#include <gtest/gtest.h>

namespace thinkwire::worker::engine {
namespace {

TEST(TokenStream, TakesEverythingInOrder) {
  TokenStream stream(4, nullptr);
  stream.SetQueuePosition(3);
  stream.SetQueuePosition(1);
  stream.SetStarted(32);
  stream.Push({.id = 5});
  stream.Push({.id = 6});
  stream.SetEnding({.reason = EndReason::kLength, .generated_tokens = 2});
  const TokenStream::Batch batch = stream.Take();
  EXPECT_EQ(batch.queue_position, 1);
  EXPECT_TRUE(batch.started);
  ASSERT_EQ(batch.tokens.size(), 2U);
  EXPECT_EQ(batch.tokens[0].id, 5);
  EXPECT_EQ(batch.tokens[1].id, 6);
  ASSERT_TRUE(batch.ending);
  EXPECT_EQ(batch.ending->generated_tokens, 2);
  EXPECT_TRUE(stream.Take().empty());
}

TEST(TokenStream, RoomShrinksByPushesAndGrowsByTaking) {
  TokenStream stream(2, nullptr);
  EXPECT_EQ(stream.room(), 2U);
  stream.Push({});
  stream.Push({});
  EXPECT_EQ(stream.room(), 0U);
  stream.Take();
  EXPECT_EQ(stream.room(), 2U);
}

TEST(TokenStream, EventsOtherThanTokensNeedNoRoom) {
  TokenStream stream(1, nullptr);
  stream.Push({});
  stream.SetQueuePosition(0);
  stream.SetEnding({});
  EXPECT_TRUE(stream.Take().ending);
}

TEST(TokenStream, CallsBackOnlyWhenItWasEmpty) {
  int calls = 0;
  TokenStream stream(8, [&calls] { ++calls; });
  stream.SetStarted(0);
  stream.Push({});
  stream.Push({});
  EXPECT_EQ(calls, 1);
  stream.Take();
  stream.Push({});
  EXPECT_EQ(calls, 2);
}

TEST(TokenStream, CallsBackForTheEndingToo) {
  int calls = 0;
  TokenStream stream(8, [&calls] { ++calls; });
  stream.Push({});
  EXPECT_FALSE(stream.ends_as_too_slow());
  stream.SetEnding({.reason = EndReason::kSlowReader});
  EXPECT_EQ(calls, 2);
  EXPECT_TRUE(stream.ends_as_too_slow());
  EXPECT_EQ(stream.Take().tokens.size(), 1U) << "it is nobody's but the reader's to drop";
}

TEST(TokenStream, CallsBackWithoutItsLock) {
  std::size_t taken = 0;
  TokenStream* self = nullptr;
  TokenStream stream(8, [&] { taken += self->Take().tokens.size(); });
  self = &stream;
  stream.Push({});
  stream.Push({});
  EXPECT_EQ(taken, 2U);
}

TEST(TokenStream, ForcedTokensMayOverfillIt) {
  TokenStream stream(1, nullptr);
  stream.Push({.id = 1});
  stream.Push({.id = 2, .origin = TokenOrigin::kBudget});
  stream.Push({.id = 3, .origin = TokenOrigin::kBudget});
  EXPECT_EQ(stream.room(), 0U);
  EXPECT_EQ(stream.Take().tokens.size(), 3U);
  EXPECT_EQ(stream.room(), 1U);
}

TEST(TokenStream, TakesInPartsAndTheEndingWithTheLast) {
  TokenStream stream(8, nullptr);
  stream.SetStarted(0);
  for (std::int32_t id = 1; id <= 5; ++id) stream.Push({.id = id});
  stream.SetEnding({.reason = EndReason::kLength});
  const TokenStream::Batch first = stream.Take(3);
  EXPECT_TRUE(first.started);
  EXPECT_EQ(first.tokens.size(), 3U);
  EXPECT_TRUE(first.more);
  EXPECT_FALSE(first.ending);
  const TokenStream::Batch second = stream.Take(2);
  EXPECT_FALSE(second.started);
  ASSERT_EQ(second.tokens.size(), 2U);
  EXPECT_EQ(second.tokens[0].id, 4);
  EXPECT_FALSE(second.more);
  EXPECT_TRUE(second.ending);
}

TEST(TokenStream, SaysWhenHalfOfItIsFreeAgain) {
  TokenStream stream(8, nullptr);
  for (int i = 0; i < 7; ++i) EXPECT_FALSE(stream.Push({}));
  EXPECT_TRUE(stream.Push({}));
  EXPECT_TRUE(stream.reading().full());
  EXPECT_FALSE(stream.Take(3).makes_room);
  EXPECT_FALSE(stream.reading().half_free());
  EXPECT_TRUE(stream.Take(1).makes_room);
  EXPECT_TRUE(stream.reading().half_free());
  EXPECT_FALSE(stream.Take(1).makes_room);
  EXPECT_EQ(stream.reading().taken, 5U);
  EXPECT_EQ(stream.reading().waiting, 3U);
}

TEST(TokenStreamDeathTest, RefusesWhatItsCallerMustNotDo) {
  TokenStream full(1, nullptr);
  full.Push({});
  EXPECT_DEATH(full.Push({}), "the stream has room");
  TokenStream ended(1, nullptr);
  ended.SetEnding({});
  EXPECT_DEATH(ended.Push({}), "nothing follows an ending");
}

}  // namespace
}  // namespace thinkwire::worker::engine
