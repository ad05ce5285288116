#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace thinkwire::router::consensus {

// One answer, and the outputs that gave it, ascending.
struct Ballot {
  std::string answer;
  std::vector<std::size_t> outputs;
};

// The vote of a request's outputs, which may end in any order. What wins is a matter of the answers
// alone, never of the order in which they come:
//
// 1. Votes count in the order of the outputs' indexes. The first answer that has `quorum` votes
//    wins: agreement times the number of outputs, rounded up. Where none ever has, the answer with
//    most votes wins, of equals the one whose first output has the lowest index.
// 2. The winner is the first output that gave that answer. Where no output gives any, the winner is
//    output 0, and there are no votes.
// 3. The vote is over as soon as the winner has ended and is certain: whatever the outputs that
// have
//    not ended would say, by 1 and 2 it would be this one. So it takes no longer than it must, and
//    yet has the same winner as if all had ended. An output before the winner has always ended, as
//    it could have been the winner itself.
//
// The order in which outputs end so changes when the vote is over, and which of the votes that were
// not needed are told (ballots), but never the winner.
// Cost of an answer: outputs times different answers. Threads: one at a time.
class Vote {
 public:
  // REQUIRES: num_outputs >= 1, agreement in (0, 1].
  Vote(std::size_t num_outputs, double agreement);

  // That output has ended with `answer`; nullopt: without one, which is no vote. Once per output.
  // REQUIRES: index < num_outputs.
  void Add(std::size_t index, std::optional<std::string> answer);

  bool is_over() const { return winner_.has_value(); }
  // REQUIRES: it is over.
  std::size_t winner() const { return *winner_; }

  // Whether that output may be the winner yet, or is; one that has not ended may. Once false, it
  // stays so.
  bool MayWin(std::size_t index) const;

  // The votes that made it certain: in the order of the outputs, up to the first with which it was,
  // those left out that had not ended. Most outputs first, so that the first is the winner's;
  // equals by their first output. Empty where no output has an answer. REQUIRES: it is over.
  std::vector<Ballot> ballots() const;

  // Whether that output has ended with an answer.
  bool HasVoted(std::size_t index) const { return outputs_[index].answer.has_value(); }
  // Whether that answer is the winner's. REQUIRES: it is over, as for the next.
  bool Agrees(std::size_t index) const;
  // Whether as many agree with it as were asked for.
  bool has_quorum() const;

 private:
  struct Output {
    bool ended = false;
    std::optional<std::size_t> answer{};  // an index into answers_
  };
  // How far one answer would get if so many of the outputs spoke for it.
  struct Chance {
    std::size_t votes = 0;
    std::size_t first = 0;   // output
    std::size_t quorum = 0;  // the output with which it has that; num_outputs: none
  };

  std::size_t Find(std::string answer);
  // Of that answer, nullopt: of one that nobody has given yet; `all`: with every output that has
  // not ended. Outputs from `end` on count as not ended.
  Chance ChanceOf(std::optional<std::size_t> answer, bool all, std::size_t end) const;
  static bool IsBefore(const Chance& one, const Chance& other);
  // The winner by what the outputs before `end` say; nullopt: it is not certain.
  std::optional<std::size_t> Decide(std::size_t end) const;
  std::optional<std::size_t> Leader(std::size_t end) const;
  bool IsCertain(std::size_t answer, const Chance& chance, std::size_t end) const;

  const std::size_t quorum_;
  std::vector<Output> outputs_;
  std::vector<std::string> answers_;  // different ones, in the order in which they came
  std::optional<std::size_t> winner_;
};

}  // namespace thinkwire::router::consensus
