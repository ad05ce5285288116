#include "worker/text/piece_cache.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace thinkwire::worker::text {
namespace {

using Ids = std::vector<std::int32_t>;

constexpr std::size_t kLargeVocabulary = 200'000;

// Ids that tell pieces and kinds apart.
Ids IdsOf(const std::string& piece, TextKind kind) {
  Ids ids;
  for (std::size_t i = 0; i <= piece.size() % PieceCache::kMaxLongIds; ++i) {
    const auto hash = std::hash<std::string>()(piece + std::to_string(i));
    ids.push_back(static_cast<std::int32_t>(hash % 1'000'000) * 2 +
                  static_cast<std::int32_t>(kind));
  }
  return ids;
}

// As an encoder uses a cache for a piece in `text`.
Ids Known(const PieceCache& cache, std::string_view piece, std::string_view text, TextKind kind) {
  Ids ids(PieceCache::kMaxShortIds);
  ids.resize(cache.Find(cache.KeyOf(piece, text.data() + text.size(), kind), ids.data()));
  if (ids.empty()) cache.AppendLong(piece, kind, &ids);
  return ids;
}

Ids Known(const PieceCache& cache, std::string_view piece, TextKind kind) {
  return Known(cache, piece, piece, kind);
}

void Keep(PieceCache& cache, std::string_view piece, TextKind kind, const Ids& ids) {
  cache.Keep(piece, cache.KeyOf(piece, piece.data() + piece.size(), kind), kind, ids);
}

TEST(PieceCache, KeepsIdsByPieceAndKindOfText) {
  PieceCache cache(kLargeVocabulary);
  for (const std::string piece : {"the", "sixteen bytes ok", "seventeen bytes ok", "9 \0 bytes"}) {
    EXPECT_EQ(Known(cache, piece, TextKind::kPrompt), Ids{}) << piece;
    Keep(cache, piece, TextKind::kPrompt, {5, 6});
    EXPECT_EQ(Known(cache, piece, TextKind::kMessage), Ids{}) << piece;
    EXPECT_EQ(Known(cache, piece, TextKind::kPrompt), (Ids{5, 6})) << piece;
  }
}

TEST(PieceCache, TellsPiecesThatDifferInTheirLengthAlone) {
  PieceCache cache(kLargeVocabulary);
  const std::string zeros(PieceCache::kMaxLongBytes, '\0');
  for (std::size_t size = 1; size <= zeros.size(); ++size) {
    const std::string_view piece = std::string_view(zeros).substr(0, size);
    ASSERT_EQ(Known(cache, piece, TextKind::kPrompt), Ids{}) << size;
    Keep(cache, piece, TextKind::kPrompt, {static_cast<std::int32_t>(size)});
    ASSERT_EQ(Known(cache, piece, TextKind::kPrompt), Ids{static_cast<std::int32_t>(size)});
  }
}

// What follows a piece in its text, be it much or little, is no part of it.
TEST(PieceCache, KnowsAPieceWhereverItStands) {
  PieceCache cache(kLargeVocabulary);
  Keep(cache, "word", TextKind::kPrompt, {7});
  std::string text = "word";
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(Known(cache, std::string_view(text).substr(0, 4), text, TextKind::kPrompt), Ids{7});
    text += 'x';
  }
}

TEST(PieceCache, PassesOverWhatHasNoPlaceInIt) {
  PieceCache cache(kLargeVocabulary);
  const std::string too_long(PieceCache::kMaxLongBytes + 1, 'x');
  Keep(cache, too_long, TextKind::kPrompt, {1});
  Keep(cache, "many", TextKind::kPrompt, Ids(PieceCache::kMaxLongIds + 1, 1));
  Keep(cache, "none", TextKind::kPrompt, {});
  for (const std::string& piece : {too_long, std::string("many"), std::string("none")}) {
    EXPECT_EQ(Known(cache, piece, TextKind::kPrompt), Ids{}) << piece;
  }
}

// More pieces than there are places, so that they take each other's.
TEST(PieceCache, GivesNoPieceAnothersIds) {
  PieceCache cache(1);
  std::mt19937 random(1);
  int num_known = 0;
  for (int i = 0; i < 300'000; ++i) {
    std::string piece(1 + random() % (random() % 2 == 0 ? 5 : PieceCache::kMaxLongBytes), 'a');
    for (char& byte : piece) byte = static_cast<char>('a' + random() % 3);
    const TextKind kind = random() % 2 == 0 ? TextKind::kPrompt : TextKind::kMessage;
    const Ids known = Known(cache, piece, kind);
    if (known.empty()) {
      Keep(cache, piece, kind, IdsOf(piece, kind));
    } else {
      ++num_known;
      ASSERT_EQ(known, IdsOf(piece, kind)) << piece;
    }
  }
  EXPECT_GT(num_known, 10'000);
}

TEST(PieceCachePool, LendsEachCallerItsOwnAndTheSameAgain) {
  PieceCachePool pool(kLargeVocabulary);
  {
    const PieceCachePool::Lease first(pool);
    const PieceCachePool::Lease second(pool);
    EXPECT_NE(&*first, &*second);
    Keep(*first, "a", TextKind::kPrompt, {7});
    Keep(*second, "a", TextKind::kPrompt, {7});
  }
  const PieceCachePool::Lease again(pool);
  EXPECT_EQ(Known(*again, "a", TextKind::kPrompt), Ids{7});
}

}  // namespace
}  // namespace thinkwire::worker::text
