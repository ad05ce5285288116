#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/clock.h"
#include "router/fleet/losses.h"

namespace thinkwire::router {

// Whether a stream may be what its workers were lost of: poison, which is to be given to no other.
// What counts are losses in a row at one place: the stream ran at each of those workers, and came
// less than kPoisonTokens further than at the one before. One that came further is no more suspect
// than any other: a long answer may well outlive several workers.
//
// It is poison after so many of them as tell it from chance, and from its neighbours:
//   kOfItsOwn   if at each it was alone, or the worker broke the contract to it
//   kAmongMany  if others were lost with it at some: one of them may be the cause
//   kInADisaster  if, from kBefore before the first of them on, at least two other workers of the
//               variant were lost without it, and half of all: what ails them is not this stream.
//               A limit all the same, as several such streams are a disaster, too.
// Who has been lost twice in a row is suspect. Such streams go on one after another
// (MoveSchedule::TakePlaceOfSuspect): then what is poison is lost again alone, and its neighbours
// have come further by then. And but in a disaster none is given the last live worker of several.
// Threads: one at a time.
class Suspicion {
 public:
  static constexpr std::size_t kOfItsOwn = 2;
  static constexpr std::size_t kAmongMany = 3;
  static constexpr std::size_t kInADisaster = 6;
  static constexpr Clock::Duration kBefore = std::chrono::seconds(10);
  // A stream's end and what the pool sees of its worker are one loss within this.
  static constexpr Clock::Duration kSameLoss = std::chrono::seconds(5);

  struct Loss {
    std::size_t worker = 0;  // an index into the pool's
    Clock::TimePoint at{};
    std::int64_t tokens = 0;  // of all its attempts until then
    bool alone = false;       // nobody else ran there, or it alone was lied to
  };
  // `fleet`: of its variant, now.
  void Add(const Loss& loss, const fleet::Losses& fleet);
  // Nothing that came before says anything of what comes.
  void Clear() { losses_.clear(); }

  std::size_t num_losses() const { return losses_.size(); }  // in a row
  bool is_suspect() const { return losses_.size() >= 2; }
  bool is_poison() const { return losses_.size() >= limit_; }
  // Whether it is not to be given the last live worker.
  bool spares_the_last() const { return is_suspect() && limit_ != kInADisaster; }

 private:
  std::size_t LimitOf(const fleet::Losses& fleet) const;
  bool IsDisaster(const fleet::Losses& fleet) const;
  bool IsOwn(const fleet::Loss& loss) const;

  std::vector<Loss> losses_;  // kInADisaster at most, as it has ended then
  std::size_t limit_ = kOfItsOwn;
};

}  // namespace thinkwire::router
