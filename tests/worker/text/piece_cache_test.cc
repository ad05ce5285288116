#include "worker/text/piece_cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace thinkwire::worker::text {
namespace {

using Ids = std::vector<std::int32_t>;

// Ids that tell pieces and kinds apart.
Ids IdsOf(const std::string& piece, TextKind kind) {
  Ids ids;
  for (std::size_t i = 0; i <= piece.size() % 3; ++i) {
    const auto hash = std::hash<std::string>()(piece + std::to_string(i));
    ids.push_back(static_cast<std::int32_t>(hash % 1'000'000) * 2 +
                  static_cast<std::int32_t>(kind));
  }
  return ids;
}

TEST(PieceCache, KeepsIdsByPieceAndKindOfText) {
  PieceCache cache;
  Ids out = {1};
  EXPECT_FALSE(cache.Append("the", TextKind::kPrompt, &out));
  cache.Keep("the", TextKind::kPrompt, {9, 9, 5, 6}, 2);
  EXPECT_FALSE(cache.Append("the", TextKind::kMessage, &out));
  EXPECT_EQ(out, Ids{1});
  EXPECT_TRUE(cache.Append("the", TextKind::kPrompt, &out));
  EXPECT_EQ(out, (Ids{1, 5, 6}));
}

TEST(PieceCache, PassesOverWhatHasNoPlaceInIt) {
  PieceCache cache;
  Ids out;
  const std::string too_long(PieceCache::kMaxBytes + 1, 'x');
  cache.Keep(too_long, TextKind::kPrompt, {1}, 0);
  cache.Keep("many", TextKind::kPrompt, Ids(PieceCache::kMaxIds + 1, 1), 0);
  cache.Keep("none", TextKind::kPrompt, {1}, 1);
  for (const std::string& piece : {too_long, std::string("many"), std::string("none")}) {
    EXPECT_FALSE(cache.Append(piece, TextKind::kPrompt, &out)) << piece;
  }
  EXPECT_EQ(out, Ids{});
}

// More pieces than there are places, so that they take each other's.
TEST(PieceCache, GivesNoPieceAnothersIds) {
  PieceCache cache;
  std::mt19937 random(1);
  int num_known = 0;
  for (int i = 0; i < 300'000; ++i) {
    std::string piece(1 + random() % PieceCache::kMaxBytes, 'a');
    for (char& byte : piece) byte = static_cast<char>('a' + random() % 3);
    const TextKind kind = random() % 2 == 0 ? TextKind::kPrompt : TextKind::kMessage;
    const Ids ids = IdsOf(piece, kind);
    Ids out;
    if (cache.Append(piece, kind, &out)) {
      ++num_known;
      ASSERT_EQ(out, ids) << piece;
    } else {
      cache.Keep(piece, kind, ids, 0);
    }
  }
  EXPECT_GT(num_known, 10'000);
}

TEST(PieceCachePool, LendsEachCallerItsOwnAndTheSameAgain) {
  PieceCachePool pool;
  Ids out;
  {
    const PieceCachePool::Lease first(pool);
    const PieceCachePool::Lease second(pool);
    EXPECT_NE(&*first, &*second);
    (*first).Keep("a", TextKind::kPrompt, {7}, 0);
    (*second).Keep("a", TextKind::kPrompt, {7}, 0);
  }
  const PieceCachePool::Lease again(pool);
  EXPECT_TRUE((*again).Append("a", TextKind::kPrompt, &out));
}

}  // namespace
}  // namespace thinkwire::worker::text
