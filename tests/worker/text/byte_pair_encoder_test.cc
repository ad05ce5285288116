#include "worker/text/byte_pair_encoder.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace thinkwire::worker::text {
namespace {

struct RandomMerges {
  BytePairEncoder encoder;
  std::map<std::pair<std::int32_t, std::int32_t>, std::pair<std::int32_t, std::int32_t>>
      merges;  // -> rank, id
};

// Merges over the letters a to d, each of two tokens that exist already.
RandomMerges MakeMerges(std::uint32_t seed) {
  std::mt19937 random(seed);
  RandomMerges out;
  for (int byte = 'a'; byte <= 'd'; ++byte) out.encoder.SetByteId(byte, byte - 'a');
  std::int32_t next_id = 4;
  for (std::int32_t rank = 0; rank < 60; ++rank) {
    const std::pair<std::int32_t, std::int32_t> pair(random() % next_id, random() % next_id);
    if (!out.merges.emplace(pair, std::pair(rank, next_id)).second) continue;
    out.encoder.AddMerge(pair.first, pair.second, rank, next_id);
    ++next_id;
  }
  out.encoder.Finish();
  return out;
}

// The definition, word for word.
std::vector<std::int32_t> EncodeSlowly(const RandomMerges& merges, const std::string& piece) {
  std::vector<std::int32_t> ids;
  for (const char c : piece) ids.push_back(c - 'a');
  while (true) {
    std::pair<std::int32_t, std::int32_t> best(INT32_MAX, 0);
    std::size_t best_at = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto merge = merges.merges.find({ids[i], ids[i + 1]});
      if (merge != merges.merges.end() && merge->second.first < best.first) {
        best = merge->second;
        best_at = i;
      }
    }
    if (best.first == INT32_MAX) return ids;
    ids[best_at] = best.second;
    ids.erase(ids.begin() + best_at + 1);
  }
}

TEST(BytePairEncoder, EqualsTheDefinitionAtEveryLength) {
  for (std::uint32_t seed = 1; seed <= 30; ++seed) {
    const RandomMerges merges = MakeMerges(seed);
    std::mt19937 random(seed);
    for (std::size_t length = 0; length < 130; ++length) {
      std::string piece;
      for (std::size_t i = 0; i < length; ++i) piece += static_cast<char>('a' + random() % 4);
      std::vector<std::int32_t> ids;
      merges.encoder.Encode(piece, &ids);
      ASSERT_EQ(ids, EncodeSlowly(merges, piece)) << "seed " << seed << " piece " << piece;
    }
  }
}

TEST(BytePairEncoder, BytesWithoutAnIdYieldNothing) {
  BytePairEncoder encoder;
  encoder.SetByteId('a', 7);
  encoder.Finish();
  std::vector<std::int32_t> ids;
  encoder.Encode("xaxax", &ids);
  EXPECT_EQ(ids, (std::vector<std::int32_t>{7, 7}));
  ids.clear();
  encoder.Encode(std::string(100, 'x'), &ids);
  EXPECT_TRUE(ids.empty());
}

TEST(BytePairEncoder, OneLongPieceIsNotQuadratic) {
  const RandomMerges merges = MakeMerges(3);
  const std::string piece(2'000'000, 'a');
  std::vector<std::int32_t> ids;
  merges.encoder.Encode(piece, &ids);
  EXPECT_LE(ids.size(), piece.size());
  EXPECT_FALSE(ids.empty());
}

}  // namespace
}  // namespace thinkwire::worker::text
