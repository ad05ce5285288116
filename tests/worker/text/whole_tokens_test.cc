#include "worker/text/whole_tokens.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace thinkwire::worker::text {
namespace {

using Bits = std::vector<bool>;

BytePairEncoder MakeEncoder(const std::vector<TokenMerge>& merges) {
  BytePairEncoder encoder;
  for (std::uint8_t byte = 'a'; byte <= 'c'; ++byte) encoder.SetByteId(byte, byte - 'a');
  for (const TokenMerge& merge : merges) {
    encoder.AddMerge(merge.left, merge.right, merge.rank, merge.merged);
  }
  encoder.Finish();
  return encoder;
}

std::optional<Bits> Find(const std::vector<TokenMerge>& merges, std::size_t num_ids) {
  return FindWholeTokens(MakeEncoder(merges), merges, num_ids);
}

// Few letters, so that pieces repeat and overlap themselves: ids 0 to 2 are bytes, others' parts
// any that were there before. Tokens' bytes by id.
struct RandomVocabulary {
  explicit RandomVocabulary(std::uint32_t seed) {
    std::mt19937 random(seed);
    const auto letters = static_cast<std::int32_t>(2 + seed % 2);
    while (bytes.size() < 40) {
      const auto num_ids = static_cast<std::int32_t>(bytes.size());
      const auto draw = [&] {
        const auto id = static_cast<std::int32_t>(random() % num_ids);
        return id < 3 ? id % letters : id;
      };
      const TokenMerge merge = {draw(), draw(), num_ids, num_ids};
      if (IsThere(merge)) continue;
      merges.push_back(merge);
      bytes.push_back(bytes[merge.left] + bytes[merge.right]);
    }
  }

  bool IsThere(const TokenMerge& merge) const {
    for (const TokenMerge& other : merges) {
      if (other.left == merge.left && other.right == merge.right) return true;
    }
    return false;
  }

  std::vector<TokenMerge> merges;
  std::vector<std::string> bytes = {"a", "b", "c"};
};

TEST(WholeTokens, AreThoseThatEncodingGivesAlone) {
  std::size_t num_whole = 0;
  std::size_t num_others = 0;
  for (std::uint32_t seed = 1; seed <= 500; ++seed) {
    const RandomVocabulary vocabulary(seed);
    const BytePairEncoder encoder = MakeEncoder(vocabulary.merges);
    const auto whole = FindWholeTokens(encoder, vocabulary.merges, vocabulary.bytes.size());
    ASSERT_TRUE(whole.has_value()) << "seed " << seed;
    for (std::size_t id = 0; id < vocabulary.bytes.size(); ++id) {
      std::vector<std::int32_t> ids;
      encoder.Encode(vocabulary.bytes[id], &ids);
      const bool alone = ids == std::vector<std::int32_t>{static_cast<std::int32_t>(id)};
      ASSERT_EQ((*whole)[id], alone) << "seed " << seed << " token " << vocabulary.bytes[id];
      ++(alone ? num_whole : num_others);
    }
  }
  EXPECT_GT(num_whole, 1000U);
  EXPECT_GT(num_others, 1000U);
}

// Ids 0 to 2 are the bytes a to c.
TEST(WholeTokens, AByteIsOneAndWhatNothingMakesIsNone) {
  EXPECT_EQ(Find({}, 5), (Bits{true, true, true, false, false}));
  EXPECT_EQ(Find({{0, 4, 0, 3}}, 5), (Bits{true, true, true, false, false}));
}

TEST(WholeTokens, AreNotToldWhereRanksAreNoOrderOfTime) {
  EXPECT_EQ(Find({{0, 3, 0, 4}, {0, 1, 1, 3}}, 5), std::nullopt) << "a part that is made later";
  EXPECT_EQ(Find({{0, 1, 0, 3}, {1, 0, 1, 3}}, 4), std::nullopt) << "two merges of one token";
  EXPECT_EQ(Find({{0, 1, 0, 3}, {0, 1, 1, 4}}, 5), std::nullopt) << "a pair that is there twice";
  EXPECT_EQ(Find({{0, 1, 0, 2}}, 3), std::nullopt) << "a byte that a merge makes";
}

}  // namespace
}  // namespace thinkwire::worker::text
