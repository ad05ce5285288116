#include "router/consensus/vote.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace thinkwire::router::consensus {
namespace {

using Answers = std::vector<std::optional<std::string>>;

// Rules 1 and 2, where all have ended.
std::size_t WinnerOf(const Answers& answers, double agreement) {
  const double share = static_cast<double>(answers.size()) * agreement;
  const auto quorum = static_cast<std::size_t>(std::ceil(share - 1e-6));
  std::map<std::string, std::vector<std::size_t>> votes;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (!answers[i]) continue;
    votes[*answers[i]].push_back(i);
    if (votes[*answers[i]].size() >= quorum) return votes[*answers[i]].front();
  }
  std::optional<std::vector<std::size_t>> best;
  for (const auto& [answer, outputs] : votes) {
    const bool more = !best || outputs.size() > best->size() ||
                      (outputs.size() == best->size() && outputs.front() < best->front());
    if (more) best = outputs;
  }
  return best ? best->front() : 0;
}

// Whether all ways in which the others may end lead to that winner.
bool IsCertain(Answers answers, std::vector<std::size_t> missing, double agreement,
               std::size_t winner) {
  if (missing.empty()) return WinnerOf(answers, agreement) == winner;
  const std::size_t next = missing.back();
  missing.pop_back();
  std::set<std::optional<std::string>> choices = {std::nullopt, "new", "newer"};
  choices.insert(answers.begin(), answers.end());
  return std::ranges::all_of(choices, [&](const std::optional<std::string>& choice) {
    answers[next] = choice;
    return IsCertain(answers, missing, agreement, winner);
  });
}

Answers RandomAnswers(std::size_t number, int different, std::mt19937& random) {
  std::uniform_int_distribution<int> draw(-1, different - 1);
  Answers answers(number);
  for (auto& answer : answers) {
    if (const int drawn = draw(random); drawn >= 0) answer = std::string(1, "abcd"[drawn]);
  }
  return answers;
}

std::vector<std::size_t> InOrder(std::size_t number) {
  std::vector<std::size_t> order(number);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// Has them end in that order until it is over; how many have.
std::size_t EndUntilOver(const Answers& answers, const std::vector<std::size_t>& order,
                         Vote& vote) {
  std::size_t ended = 0;
  while (!vote.is_over() && ended < order.size()) {
    vote.Add(order[ended], answers[order[ended]]);
    ++ended;
  }
  return ended;
}

Vote Count(const Answers& answers, double agreement = 1) {
  Vote vote(answers.size(), agreement);
  EndUntilOver(answers, InOrder(answers.size()), vote);
  return vote;
}

std::set<std::size_t> OutputsOf(const std::vector<Ballot>& ballots) {
  std::set<std::size_t> outputs;
  for (const Ballot& ballot : ballots) {
    outputs.insert(ballot.outputs.begin(), ballot.outputs.end());
  }
  return outputs;
}

TEST(VoteTest, MostVotesWinAndOfThemTheFirstOutput) {
  const Vote vote = Count({"a", "b", "b", "c", "b"});
  ASSERT_TRUE(vote.is_over());
  EXPECT_EQ(vote.winner(), 1U);
  const auto ballots = vote.ballots();
  ASSERT_EQ(ballots.size(), 3U);
  EXPECT_EQ(ballots[0].answer, "b");
  EXPECT_EQ(ballots[0].outputs, (std::vector<std::size_t>{1, 2, 4}));
  EXPECT_EQ(ballots[1].answer, "a");
  EXPECT_EQ(ballots[2].answer, "c");
}

TEST(VoteTest, OfEqualsTheFirstOutputsAnswerWins) {
  EXPECT_EQ(Count({"b", "a", "a", "b"}).winner(), 0U);
  EXPECT_EQ(Count({std::nullopt, "a", "b"}).winner(), 1U);
}

TEST(VoteTest, EndsAsSoonAsTheRestCannotChangeIt) {
  Vote vote(5, 1);
  vote.Add(0, "a");
  vote.Add(1, "a");
  EXPECT_FALSE(vote.is_over()) << "three others may still agree";
  vote.Add(3, "a");
  ASSERT_TRUE(vote.is_over()) << "whatever 2 and 4 say";
  EXPECT_EQ(vote.winner(), 0U);
  ASSERT_EQ(vote.ballots().size(), 1U);
  EXPECT_EQ(vote.ballots()[0].outputs, (std::vector<std::size_t>{0, 1, 3}));
}

TEST(VoteTest, WaitsForWhoMayBeTheFirstToSaySo) {
  Vote vote(3, 1);
  vote.Add(1, "a");
  vote.Add(2, "a");
  EXPECT_FALSE(vote.is_over()) << "output 0 may be the first with a";
  vote.Add(0, "a");
  ASSERT_TRUE(vote.is_over());
  EXPECT_EQ(vote.winner(), 0U);
}

TEST(VoteTest, AShareOfVotesIsEnough) {
  Vote vote(8, 0.25);
  vote.Add(0, "a");
  vote.Add(2, "b");
  EXPECT_FALSE(vote.is_over());
  vote.Add(3, "b");
  EXPECT_FALSE(vote.is_over()) << "output 1 may be the second with a";
  vote.Add(1, "c");
  ASSERT_TRUE(vote.is_over());
  EXPECT_EQ(vote.winner(), 2U);
  EXPECT_TRUE(vote.has_quorum());
  EXPECT_FALSE(vote.Agrees(0));
}

TEST(VoteTest, WhoHasNoAnswerHasNoVote) {
  const Vote vote = Count({std::nullopt, std::nullopt, "a"});
  EXPECT_EQ(vote.winner(), 2U);
  EXPECT_EQ(OutputsOf(vote.ballots()), std::set<std::size_t>{2});
  EXPECT_FALSE(vote.HasVoted(0));
  EXPECT_TRUE(vote.Agrees(2));
}

TEST(VoteTest, WithoutVotesTheFirstOutputIsAllThereIs) {
  Vote vote(2, 0.5);
  vote.Add(0, std::nullopt);
  EXPECT_FALSE(vote.is_over());
  vote.Add(1, std::nullopt);
  ASSERT_TRUE(vote.is_over());
  EXPECT_EQ(vote.winner(), 0U);
  EXPECT_TRUE(vote.ballots().empty());
}

TEST(VoteTest, AShareThatIsNoBinaryNumberIsRoundedAsMeant) {
  // 0.7 is more than 7 of 10 in floating point or less; 7 votes are meant.
  Vote vote(10, 0.7);
  const Answers answers = {"b", "b", "b", "a", "a", "a", "a", "a", "a", "a"};
  EXPECT_EQ(EndUntilOver(answers, InOrder(10), vote), 9U) << "six to three, one to come";
  EXPECT_EQ(vote.winner(), 3U);
}

TEST(VoteTest, OnlyTheFirstOfAnAnswerMayWin) {
  Vote vote(5, 1);
  vote.Add(3, "a");
  EXPECT_TRUE(vote.MayWin(3));
  vote.Add(1, "a");
  EXPECT_FALSE(vote.MayWin(3));
  EXPECT_TRUE(vote.MayWin(1));
  EXPECT_TRUE(vote.MayWin(0)) << "it has not ended";
  vote.Add(0, std::nullopt);
  EXPECT_FALSE(vote.MayWin(0));
  vote.Add(2, "a");
  ASSERT_TRUE(vote.is_over());
  EXPECT_TRUE(vote.MayWin(1));
  EXPECT_FALSE(vote.MayWin(4));
}

// Properties of random votes of four outputs, which can be checked against all that may come.
TEST(VoteTest, IsOverExactlyWhenTheWinnerIsCertain) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    const double agreement = 0.25 * static_cast<double>(1 + random() % 4);
    const Answers answers = RandomAnswers(4, 3, random);
    std::vector<std::size_t> order = InOrder(4);
    std::ranges::shuffle(order, random);
    Vote vote(4, agreement);
    Answers known(4);
    while (!order.empty()) {
      const std::size_t winner = WinnerOf(answers, agreement);
      const bool ended = std::ranges::find(order, winner) == order.end();
      ASSERT_EQ(vote.is_over(), ended && IsCertain(known, order, agreement, winner));
      if (vote.is_over()) break;
      known[order.back()] = answers[order.back()];
      vote.Add(order.back(), answers[order.back()]);
      order.pop_back();
    }
    ASSERT_TRUE(vote.is_over());
    ASSERT_EQ(vote.winner(), WinnerOf(answers, agreement));
  }
}

TEST(VoteTest, WhateverTheOrderTheWinnerIsTheSame) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 500; ++round) {
    const std::size_t number = 1 + random() % 64;
    const double agreement = static_cast<double>(1 + random() % 100) / 100;
    const Answers answers = RandomAnswers(number, 1 + static_cast<int>(random() % 4), random);
    Vote in_order(number, agreement);
    const std::size_t needed = EndUntilOver(answers, InOrder(number), in_order);
    ASSERT_EQ(in_order.winner(), WinnerOf(answers, agreement));
    std::vector<std::size_t> order = InOrder(number);
    std::ranges::shuffle(order, random);
    Vote vote(number, agreement);
    const std::size_t ended = EndUntilOver(answers, order, vote);
    ASSERT_EQ(vote.winner(), in_order.winner());
    // Whoever did not end has no vote, and that is the only difference there may be.
    const std::set<std::size_t> late(order.begin() + static_cast<std::ptrdiff_t>(ended),
                                     order.end());
    const bool all = std::ranges::none_of(late, [&](std::size_t i) { return i < needed; });
    if (all) {
      ASSERT_EQ(OutputsOf(vote.ballots()), OutputsOf(in_order.ballots()));
    }
    for (const std::size_t output : OutputsOf(vote.ballots())) {
      ASSERT_FALSE(late.contains(output));
    }
    if (!vote.ballots().empty()) {
      ASSERT_EQ(vote.ballots()[0].outputs[0], vote.winner());
    }
  }
}

TEST(VoteTest, NobodyIsForgottenWhoWins) {
  const unsigned seed = std::random_device()();
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 500; ++round) {
    const Answers answers = RandomAnswers(9, 3, random);
    std::vector<std::size_t> order = InOrder(9);
    std::ranges::shuffle(order, random);
    Vote vote(9, 0.4);
    std::set<std::size_t> forgotten;
    for (const std::size_t output : order) {
      if (vote.is_over()) break;
      vote.Add(output, answers[output]);
      for (std::size_t i = 0; i < 9; ++i) {
        if (!vote.MayWin(i)) forgotten.insert(i);
      }
    }
    ASSERT_FALSE(forgotten.contains(vote.winner()));
  }
}

}  // namespace
}  // namespace thinkwire::router::consensus
