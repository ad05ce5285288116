#include "worker/engine/prefix_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>

namespace thinkwire::worker::engine {
namespace {

using Ids = std::vector<std::int32_t>;

constexpr std::int32_t kBlockTokens = 2;

// A sequence as the cache sees it: blocks that it refers to, given back from the last.
struct Chain {
  std::string salt;
  std::vector<BlockHandle> blocks;

  ~Chain() {
    while (!blocks.empty()) blocks.pop_back();
  }
  Chain() = default;
  Chain(Chain&&) = default;
  Chain& operator=(Chain&&) = default;

  std::vector<std::int32_t> numbers() const {
    std::vector<std::int32_t> numbers;
    for (const BlockHandle& block : blocks) numbers.push_back(block.block());
    return numbers;
  }
};

class PrefixCacheTest : public testing::Test {
 protected:
  // Computes and caches what is not cached of `ids`, which fill blocks.
  Chain Hold(const std::string& salt, const Ids& ids) {
    Chain chain;
    chain.salt = salt;
    for (const std::int32_t block : cache_.Match(salt, ids)) {
      chain.blocks.push_back(pool_.Reference(block));
    }
    for (std::size_t i = chain.blocks.size(); i < ids.size() / kBlockTokens; ++i) {
      chain.blocks.push_back(*cache_.Allocate());
      EXPECT_EQ(Insert(chain, ids, i), chain.blocks[i].block());
    }
    return chain;
  }

  std::int32_t Insert(const Chain& chain, const Ids& ids, std::size_t index) {
    return cache_.Insert(chain.salt, index > 0 ? chain.blocks[index - 1].block() : -1,
                         std::span(ids).subspan(index * kBlockTokens, kBlockTokens),
                         chain.blocks[index].block());
  }

  BlockPool pool_{6};
  PrefixCache cache_{pool_, kBlockTokens};
};

TEST_F(PrefixCacheTest, FindsTheLongestChain) {
  const Chain held = Hold("", {1, 2, 3, 4, 5, 6});
  const std::vector<std::int32_t> blocks = held.numbers();
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4, 5, 6, 7, 8}), blocks);
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4, 5}), (Ids{blocks[0], blocks[1]}));
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 9, 5, 6}), (Ids{blocks[0]}));
  EXPECT_EQ(cache_.Match("", Ids{1}), Ids{});
  EXPECT_EQ(cache_.Match("", Ids{3, 4}), Ids{});
  EXPECT_EQ(cache_.Match("", Ids{}), Ids{});
}

TEST_F(PrefixCacheTest, SameIdsAfterAnotherPrefixAreAnotherBlock) {
  const Chain a = Hold("", {1, 1, 5, 5});
  const Chain b = Hold("", {2, 2, 5, 5});
  EXPECT_NE(a.blocks[1].block(), b.blocks[1].block());
  EXPECT_EQ(cache_.Match("", Ids{2, 2, 5, 5}), b.numbers());
}

TEST_F(PrefixCacheTest, OtherSaltsAreOtherWorlds) {
  const Chain none = Hold("", {1, 2, 3, 4});
  EXPECT_EQ(cache_.Match("a", Ids{1, 2, 3, 4}), Ids{});
  const Chain salted = Hold("a", {1, 2, 3, 4});
  EXPECT_EQ(cache_.Match("a", Ids{1, 2, 3, 4}), salted.numbers());
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4}), none.numbers());
  EXPECT_EQ(cache_.Match("b", Ids{1, 2, 3, 4}), Ids{});
}

TEST_F(PrefixCacheTest, ASecondBlockForAPlaceIsNotCached) {
  const Ids ids = {1, 2};
  const Chain first = Hold("", ids);
  Chain second;
  second.blocks.push_back(*cache_.Allocate());
  EXPECT_EQ(Insert(second, ids, 0), first.blocks[0].block());
  EXPECT_FALSE(cache_.contains(second.blocks[0].block()));
  EXPECT_EQ(cache_.size(), 1U);
}

TEST_F(PrefixCacheTest, BlocksStayAfterTheirLastReferenceUntilTheyAreNeeded) {
  { const Chain held = Hold("", {1, 2, 3, 4}); }
  EXPECT_EQ(pool_.referenced(), 0);
  EXPECT_EQ(pool_.kept(), 2);
  EXPECT_EQ(pool_.free(), 6);
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4}).size(), 2U);
  std::vector<BlockHandle> blocks;
  for (int i = 0; i < 4; ++i) blocks.push_back(*cache_.Allocate());
  EXPECT_EQ(cache_.size(), 2U);  // unused ones go first
  blocks.push_back(*cache_.Allocate());
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4}).size(), 1U);  // what follows goes first
  blocks.push_back(*cache_.Allocate());
  EXPECT_EQ(cache_.size(), 0U);
  EXPECT_FALSE(cache_.Allocate());
}

TEST_F(PrefixCacheTest, TheLongestUnusedLeavesFirst) {
  { const Chain old = Hold("", {1, 2}); }
  { const Chain newer = Hold("", {3, 4}); }
  { const Chain again = Hold("", {1, 2}); }
  std::vector<BlockHandle> blocks;
  for (int i = 0; i < 5; ++i) blocks.push_back(*cache_.Allocate());
  EXPECT_EQ(cache_.Match("", Ids{1, 2}).size(), 1U);
  EXPECT_EQ(cache_.Match("", Ids{3, 4}).size(), 0U);
}

TEST_F(PrefixCacheTest, ReferencedBlocksNeverLeave) {
  const Chain held = Hold("", {1, 2, 3, 4});
  std::vector<BlockHandle> blocks;
  while (std::optional<BlockHandle> block = cache_.Allocate()) {
    blocks.push_back(*std::move(block));
  }
  EXPECT_EQ(blocks.size(), 4U);
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4}), held.numbers());
}

TEST_F(PrefixCacheTest, WhatFollowedAForgottenBlockIsNotFoundAgain) {
  std::int32_t first = -1;
  {
    const Chain held = Hold("", {1, 2, 3, 4});
    first = held.blocks[0].block();
  }
  cache_.Forget(first);
  EXPECT_EQ(pool_.kept(), 1);
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4}), Ids{});
  const Chain again = Hold("", {1, 2});
  EXPECT_EQ(cache_.Match("", Ids{1, 2, 3, 4}), again.numbers());
  cache_.Forget(first == again.blocks[0].block() ? 5 : first);  // not cached: nothing happens
  EXPECT_EQ(cache_.Match("", Ids{1, 2}), again.numbers());
}

// The cache by its definition: a block for each salt and prefix, those that nobody holds in the
// order in which they were let go, by their owners. What followed a block that has left is in it
// until it leaves too, but is never found.
class Model {
 public:
  using Prefix = std::pair<std::string, Ids>;

  std::vector<std::int32_t> Match(const std::string& salt, const Ids& ids) const {
    std::vector<std::int32_t> blocks;
    for (std::size_t size = kBlockTokens; size <= ids.size(); size += kBlockTokens) {
      const auto found =
          blocks_.find({salt, Ids(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(size))});
      if (found == blocks_.end()) break;
      blocks.push_back(found->second);
    }
    return blocks;
  }
  void Take(std::int32_t block) {
    idle_.remove(block);
    ++holders_[block];
  }
  void LetGo(std::int32_t block) {
    if (--holders_[block] == 0) idle_.push_back(block);
  }
  void Insert(const std::string& salt, const Ids& prefix, std::int32_t block,
              const std::string& owner) {
    blocks_[{salt, prefix}] = block;
    owners_[block] = owner;
  }
  // Whether `block` is the one to go: the oldest idle one of an owner of most.
  bool MayGo(std::int32_t block) {
    std::map<std::string, int> idle;
    for (const std::int32_t other : idle_) ++idle[owners_[other]];
    int most = 0;
    for (const auto& [owner, blocks] : idle) most = std::max(most, blocks);
    const auto oldest = std::ranges::find_if(
        idle_, [&](std::int32_t other) { return owners_[other] == owners_[block]; });
    return idle[owners_[block]] == most && *oldest == block;
  }
  void Evict(std::int32_t block) {
    idle_.remove(block);
    if (lost_.erase(block) > 0) return;
    const auto leaves =
        std::ranges::find_if(blocks_, [block](const auto& entry) { return entry.second == block; });
    const Prefix place = leaves->first;
    blocks_.erase(leaves);
    std::erase_if(blocks_, [&](const auto& entry) {
      const bool follows = Follows(entry.first, place);
      if (follows) lost_.insert(entry.second);
      return follows;
    });
  }
  std::size_t size() const { return blocks_.size() + lost_.size(); }
  std::size_t idle() const { return idle_.size(); }

 private:
  static bool Follows(const Prefix& place, const Prefix& before) {
    const auto& [salt, ids] = place;
    return salt == before.first && ids.size() > before.second.size() &&
           std::equal(before.second.begin(), before.second.end(), ids.begin());
  }

  std::map<Prefix, std::int32_t> blocks_;
  std::set<std::int32_t> lost_;
  std::map<std::int32_t, int> holders_;
  std::map<std::int32_t, std::string> owners_;
  std::list<std::int32_t> idle_;
};

// Sequences over two ids and two salts that come and go, so that nearly all of them share.
class RandomRun {
 public:
  explicit RandomRun(std::uint32_t seed)
      : random_(seed), pool_(Draw(1, 24)), cache_(pool_, kBlockTokens) {}

  void Run(int operations) {
    for (int i = 0; i < operations && !testing::Test::HasFatalFailure(); ++i) {
      if (Draw(0, 1) == 0) {
        Begin();
      } else if (!held_.empty()) {
        std::swap(held_[static_cast<std::size_t>(Draw(0, std::ssize(held_) - 1))], held_.back());
        for (std::size_t b = held_.back().blocks.size(); b-- > 0;) {
          model_.LetGo(held_.back().blocks[b].block());
        }
        held_.pop_back();
      }
      ASSERT_EQ(cache_.size(), model_.size());
      ASSERT_EQ(static_cast<std::size_t>(pool_.kept()), model_.idle());
    }
  }
  int hits() const { return hits_; }
  int evictions() const { return evictions_; }

 private:
  std::int32_t Draw(std::int64_t low, std::int64_t high) {
    return static_cast<std::int32_t>(
        std::uniform_int_distribution<std::int64_t>(low, high)(random_));
  }

  void Begin() {
    Chain chain;
    chain.salt = Draw(0, 3) == 0 ? "salt" : "";
    const std::string owner = std::to_string(Draw(0, 2));
    Ids ids(static_cast<std::size_t>(Draw(0, 6) * kBlockTokens));
    for (std::int32_t& id : ids) id = Draw(0, 1);
    const std::vector<std::int32_t> found = cache_.Match(chain.salt, ids);
    ASSERT_EQ(found, model_.Match(chain.salt, ids));
    for (const std::int32_t block : found) {
      chain.blocks.push_back(pool_.Reference(block));
      model_.Take(block);
      ++hits_;
    }
    for (std::size_t i = found.size(); i < ids.size() / kBlockTokens; ++i) {
      const bool any = pool_.free() > 0;
      const bool evicts = any && pool_.free() == pool_.kept();
      const std::int32_t leaves = pool_.next_to_leave();
      std::optional<BlockHandle> block = cache_.Allocate();
      ASSERT_EQ(block.has_value(), any);
      if (!block) break;
      if (evicts) {
        ASSERT_TRUE(model_.MayGo(leaves));
        model_.Evict(leaves);
        ++evictions_;
      }
      const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(i * kBlockTokens);
      const std::int32_t previous = i > 0 ? chain.blocks[i - 1].block() : -1;
      ASSERT_EQ(cache_.Insert(chain.salt, previous, Ids(begin, begin + kBlockTokens),
                              block->block(), owner),
                block->block());
      model_.Take(block->block());
      model_.Insert(chain.salt, Ids(ids.begin(), begin + kBlockTokens), block->block(), owner);
      chain.blocks.push_back(*std::move(block));
    }
    held_.push_back(std::move(chain));
  }

  std::mt19937 random_;
  BlockPool pool_;
  PrefixCache cache_;
  Model model_;
  std::vector<Chain> held_;
  int hits_ = 0;
  int evictions_ = 0;
};

TEST(PrefixCache, RandomSequencesFindWhatTheModelHas) {
  int hits = 0;
  int evictions = 0;
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    RandomRun run(seed);
    run.Run(400);
    if (testing::Test::HasFailure()) return;
    hits += run.hits();
    evictions += run.evictions();
  }
  EXPECT_GT(hits, 1000);
  EXPECT_GT(evictions, 1000);
}

}  // namespace
}  // namespace thinkwire::worker::engine
