#include "router/consensus/vote.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/check.h"

namespace thinkwire::router::consensus {
namespace {

// Of so many outputs. A share such as 0.7 is a little more or less than it says, most of all a
// float.
std::size_t QuorumOf(std::size_t num_outputs, double agreement) {
  constexpr double kRounding = 1e-4;
  const double votes = std::ceil(static_cast<double>(num_outputs) * agreement - kRounding);
  return static_cast<std::size_t>(std::max(votes, 1.0));
}

}  // namespace

Vote::Vote(std::size_t num_outputs, double agreement)
    : quorum_(QuorumOf(num_outputs, agreement)), outputs_(num_outputs) {
  CHECK(num_outputs >= 1 && agreement > 0 && agreement <= 1, "the request was checked");
}

void Vote::Add(std::size_t index, std::optional<std::string> answer) {
  CHECK(index < outputs_.size() && !outputs_[index].ended, "an output ends once");
  outputs_[index].ended = true;
  if (answer) outputs_[index].answer = Find(*std::move(answer));
  if (!winner_) winner_ = Decide(outputs_.size());
}

std::size_t Vote::Find(std::string answer) {
  const auto found = std::ranges::find(answers_, answer);
  const auto index = static_cast<std::size_t>(found - answers_.begin());
  if (found == answers_.end()) answers_.push_back(std::move(answer));
  return index;
}

Vote::Chance Vote::ChanceOf(std::optional<std::size_t> answer, bool all, std::size_t end) const {
  Chance chance{.first = outputs_.size(), .quorum = outputs_.size()};
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    const bool ended = i < end && outputs_[i].ended;
    const bool speaks = ended ? answer && outputs_[i].answer == answer : all;
    if (!speaks) continue;
    if (chance.votes++ == 0) chance.first = i;
    if (chance.votes == quorum_) chance.quorum = i;
  }
  return chance;
}

// By rule 1.
bool Vote::IsBefore(const Chance& one, const Chance& other) {
  if (one.quorum != other.quorum) return one.quorum < other.quorum;
  if (one.votes != other.votes) return one.votes > other.votes;
  return one.first < other.first;
}

// The answer that would win if nobody else spoke.
std::optional<std::size_t> Vote::Leader(std::size_t end) const {
  std::optional<std::size_t> leader;
  Chance best;
  for (std::size_t i = 0; i < answers_.size(); ++i) {
    const Chance chance = ChanceOf(i, /*all=*/false, end);
    if (chance.votes == 0 || (leader && !IsBefore(chance, best))) continue;
    leader = i;
    best = chance;
  }
  return leader;
}

// More votes never harm an answer, so that the worst for the leader is that all who have not ended
// speak for one other.
bool Vote::IsCertain(std::size_t answer, const Chance& chance, std::size_t end) const {
  for (std::size_t i = 0; i < answers_.size(); ++i) {
    if (i != answer && IsBefore(ChanceOf(i, /*all=*/true, end), chance)) return false;
  }
  return !IsBefore(ChanceOf(std::nullopt, /*all=*/true, end), chance);
}

std::optional<std::size_t> Vote::Decide(std::size_t end) const {
  const auto ended = [&](std::size_t i) { return i < end && outputs_[i].ended; };
  const std::optional<std::size_t> leader = Leader(end);
  const Chance chance = leader ? ChanceOf(leader, /*all=*/false, end) : Chance{};
  // One that has not ended may give the leader's answer, and be the first to give it.
  const std::size_t known = leader ? chance.first : outputs_.size();
  for (std::size_t i = 0; i < known; ++i) {
    if (!ended(i)) return std::nullopt;
  }
  if (!leader) return 0;
  return IsCertain(*leader, chance, end) ? std::optional(chance.first) : std::nullopt;
}

bool Vote::MayWin(std::size_t index) const {
  if (winner_) return *winner_ == index;
  const Output& output = outputs_[index];
  if (!output.ended) return true;
  if (!output.answer) return index == 0 && answers_.empty();
  return std::none_of(outputs_.begin(), outputs_.begin() + static_cast<std::ptrdiff_t>(index),
                      [&](const Output& other) { return other.answer == output.answer; });
}

std::vector<Ballot> Vote::ballots() const {
  CHECK(winner_.has_value(), "the votes are told once the vote is over");
  std::size_t end = 1;
  while (end < outputs_.size() && !Decide(end)) ++end;
  std::vector<Ballot> ballots;
  std::vector<std::optional<std::size_t>> places(answers_.size());  // among the ballots
  for (std::size_t i = 0; i < end; ++i) {
    const std::optional<std::size_t> answer = outputs_[i].answer;
    if (!answer) continue;
    if (!places[*answer]) {
      places[*answer] = ballots.size();
      ballots.push_back({.answer = answers_[*answer], .outputs = {}});
    }
    ballots[*places[*answer]].outputs.push_back(i);
  }
  std::ranges::stable_sort(ballots, [](const Ballot& one, const Ballot& other) {
    return one.outputs.size() > other.outputs.size();
  });
  return ballots;
}

bool Vote::Agrees(std::size_t index) const {
  return HasVoted(index) && outputs_[index].answer == outputs_[winner()].answer;
}

bool Vote::has_quorum() const {
  std::size_t agree = 0;
  for (std::size_t i = 0; i < outputs_.size(); ++i) agree += Agrees(i) ? 1 : 0;
  return agree >= quorum_;
}

}  // namespace thinkwire::router::consensus
