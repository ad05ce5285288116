#include "router/count_turns.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace thinkwire::router {
namespace {

class CountTurnsTest : public testing::Test {
 protected:
  void Take(const std::string& peer, const std::string& name) {
    turns_.Take(peer, [this, name](CountTurns::Turn turn) {
      began_.push_back(name);
      held_.push_back(std::move(turn));
    });
  }
  void End(std::size_t turn) { CountTurns::Turn ended = std::exchange(held_[turn], {}); }

  CountTurns turns_;
  std::vector<std::string> began_;
  std::vector<CountTurns::Turn> held_;
};

TEST_F(CountTurnsTest, APeersThirdWaitsUntilOneEnds) {
  held_.reserve(8);
  for (const char* name : {"a1", "a2", "a3", "a4"}) Take("a", name);
  Take("b", "b1");
  EXPECT_EQ(began_, (std::vector<std::string>{"a1", "a2", "b1"}));
  End(1);
  End(0);
  EXPECT_EQ(began_, (std::vector<std::string>{"a1", "a2", "b1", "a3", "a4"}));
}

TEST_F(CountTurnsTest, NobodyIsKeptWhoHasNoTurn) {
  held_.reserve(8);
  for (const char* name : {"a1", "a2", "a3"}) Take("a", name);
  EXPECT_EQ(turns_.num_peers(), 1U);
  for (std::size_t turn = 0; turn < 3; ++turn) End(turn);
  EXPECT_EQ(turns_.num_peers(), 0U);
  Take("a", "again");
  EXPECT_EQ(began_.back(), "again");
}

TEST_F(CountTurnsTest, ATurnThatIsNotTakenGoesToTheNext) {
  held_.reserve(8);
  for (const char* name : {"a1", "a2"}) Take("a", name);
  for (int i = 0; i < 100'000; ++i) turns_.Take("a", [](const CountTurns::Turn&) {});
  Take("a", "last");
  End(0);
  EXPECT_EQ(began_.back(), "last");
}

}  // namespace
}  // namespace thinkwire::router
