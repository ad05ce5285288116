#include "worker/hub/piece_plan.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <vector>

namespace thinkwire::worker::hub {
namespace {

TEST(PiecePlan, TheFirstIsDirectAndOthersWaitForTheirTurn) {
  PiecePlan plan(25, 3, 10);
  const std::optional<Piece> first = plan.Take();
  const std::optional<Piece> second = plan.Take();
  const std::optional<Piece> third = plan.Take();
  ASSERT_TRUE(first && second && third);
  EXPECT_FALSE(plan.Take());
  EXPECT_EQ(first->first, 3);
  EXPECT_EQ(first->end, 10);
  EXPECT_EQ(third->end, 25);
  EXPECT_TRUE(first->direct);
  EXPECT_FALSE(second->direct);
  EXPECT_FALSE(plan.Done(*third));
  EXPECT_FALSE(plan.Done(*second));  // the first's taker writes
  ASSERT_TRUE(plan.Done(*first));
  EXPECT_EQ(plan.NextWaiting()->first, 10);
  EXPECT_EQ(plan.NextWaiting()->first, 20);
  EXPECT_FALSE(plan.NextWaiting());
}

TEST(PiecePlan, WhoBringsTheNextPieceBecomesTheWriter) {
  PiecePlan plan(30, 0, 10);
  const std::optional<Piece> first = plan.Take();
  const std::optional<Piece> second = plan.Take();
  ASSERT_TRUE(plan.Done(*first));
  EXPECT_FALSE(plan.NextWaiting());
  const std::optional<Piece> third = plan.Take();
  EXPECT_FALSE(third->direct);  // the second comes before it
  ASSERT_TRUE(plan.Done(*second));
  EXPECT_EQ(plan.NextWaiting()->first, 10);
  EXPECT_FALSE(plan.NextWaiting());
  ASSERT_TRUE(plan.Done(*third));
  EXPECT_EQ(plan.NextWaiting()->first, 20);
}

TEST(PiecePlan, TheWriterGoesOnUntilAPieceIsAnothers) {
  PiecePlan plan(35, 0, 10);
  const std::optional<Piece> first = plan.Take();
  const std::optional<Piece> second = plan.GoOn(*first);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->first, 10);
  EXPECT_TRUE(second->direct);
  const std::optional<Piece> third = plan.Take();
  EXPECT_EQ(third->first, 20);
  EXPECT_FALSE(third->direct);
  EXPECT_FALSE(plan.GoOn(*second));
  EXPECT_FALSE(plan.Done(*third));
  ASSERT_TRUE(plan.Done(*second));
  EXPECT_EQ(plan.NextWaiting()->first, 20);
  EXPECT_FALSE(plan.NextWaiting());
  const std::optional<Piece> last = plan.Take();
  EXPECT_TRUE(last->direct);
  EXPECT_FALSE(plan.GoOn(*last)) << "there is no other";
}

TEST(PiecePlan, AfterAFailureNobodyGetsAnything) {
  PiecePlan plan(30, 0, 10);
  const std::optional<Piece> first = plan.Take();
  plan.Fail(absl::UnavailableError("first"));
  plan.Fail(absl::UnavailableError("second"));
  EXPECT_FALSE(plan.Take());
  EXPECT_FALSE(plan.GoOn(*first));
  EXPECT_TRUE(plan.Done(*first));
  EXPECT_FALSE(plan.NextWaiting());
  EXPECT_EQ(plan.status().message(), "first");
}

TEST(PiecePlan, InAnyOrderThePrefixGrowsInOrderAndWhole) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    std::mt19937 random(seed);
    PiecePlan plan(100, 0, 7);
    std::int64_t prefix = 0;
    std::vector<Piece> taken;
    while (true) {
      if (const std::optional<Piece> piece = taken.size() < 4 ? plan.Take() : std::nullopt) {
        taken.push_back(*piece);
        if (random() % 2 == 0) continue;
      }
      if (taken.empty()) break;
      const std::size_t index = random() % taken.size();
      Piece piece = taken[index];
      taken.erase(taken.begin() + static_cast<std::ptrdiff_t>(index));
      if (piece.direct) {
        EXPECT_EQ(piece.first, prefix) << "seed " << seed;
        prefix = piece.end;
        while (random() % 2 == 0) {
          const std::optional<Piece> next = plan.GoOn(piece);
          if (!next) break;
          EXPECT_EQ(next->first, prefix) << "seed " << seed;
          prefix = next->end;
          piece = *next;
        }
      }
      if (!plan.Done(piece)) continue;
      while (const std::optional<Piece> waiting = plan.NextWaiting()) {
        EXPECT_EQ(waiting->first, prefix) << "seed " << seed;
        prefix = waiting->end;
      }
    }
    EXPECT_EQ(prefix, 100) << "seed " << seed;
  }
}

}  // namespace
}  // namespace thinkwire::worker::hub
