#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>

#include "common/clock.h"
#include "worker/engine/peer.h"
#include "worker/engine/step_cost.h"

namespace thinkwire::worker::engine {

// Whose rows go into the next step, where peers want more than it can hold without making them wait
// for each other.
//
// Places are shared by FairShare, but a step takes as long as all of its rows: where fifteen rows
// take fifteen times as long as one, who has one stream is fifteen times slower beside who has
// fifteen. With the prices of a step (StepCost) let m(p) be what the rows that peer p could have in
// the next step add to it, and
//
//   use(p)   what p was charged for, each second counting less with its age (1/e after kMemory)
//   first    of those whose use is the least, or more by kLead at most, the one of least m, where
//            prompts of a chunk count as one row; but for those who could do nothing when they were
//   longest  max(kLongest, kLongestBases * base) where another peer was here lately, else infinite
//   pace     base + m(first), or longest if that is less: what the step takes for the first alone
//
// The first gets all its rows, or, by turns, as many as make the step no longer than longest: who
// comes meanwhile waits for it. If all rows of all make the step no longer than kFree * pace,
// everybody does: where rows are nearly free, as on a GPU at small batches, nobody is held back.
// Else each other peer saves up, with each step, and spends on rows
//
//   pace                              so that the first of P peers goes on at a P-th of its speed
//                                     alone, or better;
//   kTrickle * max(base, pace / 4)    all those together, instead, who have used more than the
//   first
//                                     by kSlack, or at all if they want much: more than kMuch times
//                                     what it wants. It is served nearly as if alone.
//
// What goes along with a step saves its base and no more: nearly all of a step on a GPU, where the
// trickle is dozens of rows, and little on a CPU, where rows take as long in a step of their own.
//
// What another has used less than the first until then counts as used for as long as he stays, and
// kSlack more when he first wants much beside it: who comes and wants much has no claim on the time
// in which he was not there, for which the first would have to wait, and a short question is over
// before the two are equals. Who leaves and comes again has what he really used: were it not so,
// one who asks now and then and was once not first would be taken for one who always wants more,
// and stay so.
//
// And where another peer was here lately, nothing is planned beside a step that is much longer than
// its base (TooLong): who comes meanwhile would wait for both, and all that planning ahead saves is
// the moment between two steps. That steps are cut costs whoever always wants more one part in
// kLongestBases.
//
// A row is charged to its peer, the base to the first. So those who always want more get equal
// times in the long run, as the least use becomes first at last; who wants little has small use and
// keeps its speed beside any of them; and the use of who is held back falls until it is the first.
// Everybody's use is at most kMemory, and that of who does nothing is gone after a few of those.
//
// Between a peer's own rows, those that had none for longest come first. Texts do not depend on any
// of this: a row is the same in whichever step.
//
// A peer that leaves is remembered for as long as its use counts, so that who drops its calls and
// comes again is no newcomer. Who comes under many names counts as many peers.
//
// Max-min fairness of a step's time by itself (each takes what it wants up to an equal part) would
// need no memory, but lets an equal half go to who has had all of the last minute; virtual times as
// of PromptQueue treat who was away as a newcomer, and so who asks now and then as one of many.
//
// Threads: one (the engine's). Pure: reads no clock. Memory: kMaxRemembered names.
class TimeShare {
 public:
  static constexpr double kMemory = 10;  // seconds
  static constexpr double kFree = 1.25;
  static constexpr double kTrickle = 0.25;
  static constexpr double kSlack = 0.2;  // seconds
  static constexpr double kMuch = 2;
  static constexpr double kLead = 1;  // seconds
  // Inputs of a prompt that are computed at once, at least: fewer are hardly cheaper.
  static constexpr std::int32_t kLeastChunk = 16;
  static constexpr std::size_t kMaxRemembered = 1024;
  static constexpr double kLong = 2e-3;  // seconds of a step
  static constexpr double kLongBases = 4;
  static constexpr double kLongest = 5e-3;  // seconds of a step
  static constexpr double kLongestBases = 8;

  // What a peer could have in the next step; no rows: one of its own is about to get a slot.
  struct Want {
    Peer* peer = nullptr;
    StepWork work = {};
    bool ready = false;  // some of it can be planned now: not all waits for steps in flight
  };

  // Prices of the steps so far.
  const StepCost& cost() const { return cost_; }
  void Record(const StepWork& work, Clock::Duration took) { cost_.Record(work, took); }

  // Whether steps have a longest from here on.
  void ExpectOthers(bool others) { expects_others_ = others; }

  // Says who has how much of the next step. Those who are not in `wants` are not held back. `more`:
  // there may be more than what is wanted, so that nobody can tell whether all of it is little. A
  // division that no Commit follows is as if it had not been.
  void Divide(std::span<const Want> wants, bool more, Clock::TimePoint now);
  bool holds_back() const { return holds_back_; }
  // Nobody is held back in this step.
  void Lift();

  // Whether nothing is to be planned beside a step of `work`, lest who comes waits for too long.
  bool TooLong(const StepWork& work) const;

  // How many of a row's `count` inputs the first may have beside `step` without making it longer
  // than the longest; 0: none. With `progress` kLeastChunk at least.
  std::int32_t Timely(const StepWork& step, std::int64_t first_position, std::int32_t count,
                      bool progress) const;

  bool Holds(const Peer& peer) const { return peer.time.held_in == division_; }
  // How many of a row's `count` inputs `peer` may have; 0: none.
  std::int32_t Affordable(const Peer& peer, std::int64_t first_position, std::int32_t count) const;
  // `peer` has a row in the step.
  void Charge(Peer& peer, const StepWork& work);
  // The step is planned.
  void Commit();

  // Of one who was here lately, else what a newcomer has.
  TimeUse Recall(const std::string& name);
  void Remember(const std::string& name, const TimeUse& time);
  std::size_t remembered() const { return remembered_.size(); }
  // Forgets, now and then, those who did nothing for so long that it makes no difference.
  void ForgetSome(Clock::TimePoint now);

 private:
  void Age(TimeUse& time, Clock::TimePoint now) const;
  double longest() const;  // seconds of a step
  // The largest of count, count / 2, … that `may` holds for, or kLeastChunk.
  template <class May>
  static std::int32_t Cut(std::int32_t count, const May& may);
  const Want* First(std::span<const Want> wants, Clock::TimePoint now);
  // What a want adds to a step beside a short prompt, which is over with the step.
  double Lasting(StepWork work) const;
  void HoldBack(std::span<const Want> wants, const Want& first, double pace);
  // `peer` counts as having used no less than the first.
  static void Forgo(Peer& peer, bool wants_much, double least);
  void ForgetOld(Clock::TimePoint now);

  StepCost cost_;
  std::uint64_t division_ = 0;
  bool holds_back_ = false;
  bool expects_others_ = false;
  bool committed_ = true;  // the last division
  Clock::TimePoint now_;   // of the last division
  Peer* first_ = nullptr;
  bool first_ready_ = false;
  Peer* payer_ = nullptr;  // of the base: the first if it has a row, else who had one first
  std::unordered_map<std::string, TimeUse> remembered_;
  Clock::TimePoint forgot_at_;
};

}  // namespace thinkwire::worker::engine
