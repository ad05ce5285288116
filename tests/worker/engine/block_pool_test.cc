#include "worker/engine/block_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <utility>

namespace thinkwire::worker::engine {
namespace {

TEST(BlockPool, GivesEachBlockOnce) {
  BlockPool pool(3);
  std::vector<BlockHandle> handles;
  std::set<std::int32_t> blocks;
  for (int i = 0; i < 3; ++i) {
    handles.push_back(*pool.Allocate());
    blocks.insert(handles.back().block());
  }
  EXPECT_EQ(blocks, (std::set<std::int32_t>{0, 1, 2}));
  EXPECT_EQ(pool.free(), 0);
  EXPECT_EQ(pool.referenced(), 3);
  EXPECT_FALSE(pool.Allocate());
}

TEST(BlockPool, HandleFreesItsBlock) {
  BlockPool pool(1);
  {
    const BlockHandle handle = *pool.Allocate();
    EXPECT_EQ(pool.free(), 0);
  }
  EXPECT_EQ(pool.free(), 1);
}

TEST(BlockPool, MovedHandleHoldsNothing) {
  BlockPool pool(2);
  BlockHandle first = *pool.Allocate();
  const std::int32_t block = first.block();
  BlockHandle second = std::move(first);
  EXPECT_FALSE(first.held());  // NOLINT(bugprone-use-after-move): that is the contract
  EXPECT_EQ(second.block(), block);
  EXPECT_EQ(pool.referenced(), 1);
  second = *pool.Allocate();
  EXPECT_EQ(pool.referenced(), 1);
  EXPECT_EQ(pool.references(block), 0);
}

TEST(BlockPool, SharedBlockIsFreeAfterItsLastHandle) {
  BlockPool pool(1);
  BlockHandle first = *pool.Allocate();
  BlockHandle second = pool.Reference(first.block());
  EXPECT_EQ(second.block(), first.block());
  EXPECT_EQ(pool.references(first.block()), 2);
  first.Release();
  EXPECT_EQ(pool.free(), 0);
  second.Release();
  EXPECT_EQ(pool.free(), 1);
  second.Release();
  EXPECT_EQ(pool.free(), 1);
}

TEST(BlockPoolDeathTest, DiesBeforeItsHandlesOnlyWithAWord) {
  EXPECT_DEATH(
      {
        BlockHandle handle;
        BlockPool pool(1);
        handle = *pool.Allocate();
      },
      "the pool outlives its handles");
}

// The invariants of the header, against a count of the handles that the test holds.
void CheckPool(const BlockPool& pool, const std::vector<BlockHandle>& handles) {
  std::map<std::int32_t, std::int32_t> held;
  for (const BlockHandle& handle : handles) ++held[handle.block()];
  ASSERT_EQ(pool.referenced(), static_cast<std::int32_t>(held.size()));
  ASSERT_EQ(pool.free() + pool.referenced(), pool.total());
  for (std::int32_t block = 0; block < pool.total(); ++block) {
    ASSERT_EQ(pool.references(block), held.contains(block) ? held[block] : 0);
  }
}

TEST(BlockPool, RandomOperationsKeepInvariants) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    BlockPool pool(static_cast<std::int32_t>(1 + random() % 20));
    std::vector<BlockHandle> handles;
    for (int i = 0; i < 500; ++i) {
      const std::uint32_t choice = random() % 4;
      if (choice == 0 || handles.empty()) {
        const bool expect = pool.free() > 0;
        std::optional<BlockHandle> handle = pool.Allocate();
        ASSERT_EQ(handle.has_value(), expect);
        if (handle) handles.push_back(*std::move(handle));
      } else if (choice == 1) {
        handles.push_back(pool.Reference(handles[random() % handles.size()].block()));
      } else {
        std::swap(handles[random() % handles.size()], handles.back());
        handles.pop_back();
      }
      CheckPool(pool, handles);
      if (testing::Test::HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace thinkwire::worker::engine
