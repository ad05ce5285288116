#pragma once

#include <cstdint>
#include <vector>

#include "worker/engine/sequence.h"

namespace thinkwire::worker::engine {

// Who gives up slot and blocks, so that no peer's running sequences keep another peer waiting.
//
// For peer p let r(p) be how many of its sequences run, and b(p) how many blocks those have. The
// queue says who is next: one of the waiting peer P that has fewest running (WaitingQueue). If it
// finds no slot, or too few blocks for the n that it starts with, a running sequence s of another
// peer Q is displaced for it, that is preempted and computed again later to the same bits, where
//
//   more slots:   r(Q) - 1 >= r(P) + 1, if a slot is missing or P has none; or
//   more blocks:  b(Q) - b(s) >= b(P) + n, if blocks are missing, and P stays before Q in line; or
//   rotation:     r(P) = 0, and P is before Q in line once s has lost its slot.
//
// The first two say that Q keeps no less than P then has: what max-min fairness asks for (Demers,
// Keshav, Shenker, "Analysis and Simulation of a Fair Queueing Algorithm", SIGCOMM 1989), and after
// them nobody has a reason to take it back. The third lets more peers than there are slots, or room
// for their contexts, have theirs by turns. Of those that may go, the newest of whoever has most
// goes, and all that the waiting one needs at once, or none.
//
// Counting what each peer was given so far, as in Sheng et al., "Fairness in Serving Large Language
// Models", OSDI 2024, equals out what they get over time without taking anything from anybody, but
// then lets a newcomer wait until one of those that run has ended: for outputs of 100,000 tokens
// that is no bound. So here nobody's past counts, and slots are taken instead.
//
// So that it pays, as what was computed of s is lost as far as the prefix cache forgets it:
// 1. s goes only once it has drawn kTurnTokens since it was admitted, in a rotation
//    kLongTurnTokens, or if nothing of it was computed since.
// 2. After c inputs were lost, none is displaced until kPayback * c inputs could have been
//    computed, so that at most one in kPayback + 1 inputs is computed for a second time because of
//    this.
// A peer without anything running is thus served, once it is next in line, within kTurnTokens draws
// of whoever has two slots or more, plus what rule 2 adds: with a budget of B inputs a step,
// kPayback * c / B steps of c lost before; and if all have one each, within kLongTurnTokens.
// Prompts that are being computed are finished first: PrefillOrder gives all of a step to one of
// them, so that one is done in some context / B steps.
//
// Who comes under many names counts as many peers.
//
// Blocks that a running sequence needs in order to grow are taken from the newest of the peer that
// has most blocks, at once (ToGrow): of one peer alone that is the youngest sequence.
// Threads: one (the engine's). Pure.
class FairShare {
 public:
  static constexpr std::int32_t kPayback = 4;

  // What `sequence`, the next in line, lacks.
  struct Lack {
    const Sequence& sequence;
    std::int32_t slots = 0;         // 0 or 1
    std::int32_t blocks = 0;        // beyond those that are free, or will be soon
    std::int32_t starts_with = 0;   // blocks: n
    bool before_preempted = false;  // it comes before one of a peer with as many running that is
                                    // preempted now
  };

  // `budget` >= 1: inputs a step.
  explicit FairShare(std::int32_t budget) : budget_(budget) {}

  // Whether what was lost before is paid back, so that some may be displaced at `step`.
  bool paid_back(std::uint64_t step) const { return step >= next_step_; }

  // Who of `running`, oldest first, is displaced for `lack`; nobody, if that would not do.
  static std::vector<Sequence*> Displaced(Lack lack, const std::vector<Sequence*>& running);

  // `inputs` of those that were displaced at `step` are lost.
  void OnDisplaced(std::int64_t inputs, std::uint64_t step);

  // Who of `running`, oldest first and not empty, gives its blocks to one that grows; it may be the
  // same one.
  static Sequence& ToGrow(const std::vector<Sequence*>& running);

 private:
  const std::int32_t budget_;
  std::uint64_t next_step_ = 0;
};

}  // namespace thinkwire::worker::engine
