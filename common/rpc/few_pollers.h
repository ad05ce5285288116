#pragma once

#include <memory>

namespace thinkwire::rpc {

// From now on as few threads poll for gRPC's callbacks, and run them, as keep up with them: one, as
// long as it computes for less than seven tenths of the time; then another, and so on.
// gRPC 1.51 has two of them poll by turns, or more on larger machines: whenever one has got
// something, it first wakes another to poll in its place, and that is a switch of threads for each
// message that a server passes on, a quarter of what it takes (tests/bench/RESULTS.md). They fetch
// what there is to do with a function of gRPC's C interface, which this file replaces: all others
// wait in it. So what a reaction takes, all others may wait for. What may take long says so
// (LetAnotherPoll), and no reaction waits for another.
// Of no effect on queues that a program polls itself. Threads: any.
void PollWithFewThreads();

// Of a reaction that may take long, in its beginning: another thread polls from now on, and this
// one waits for its turn again after the reaction. gRPC has a thread for every two processors, and
// at least two; nobody polls where all are in such reactions.
void LetAnotherPoll();

// Who has something to do that more may be added to.
class AtRest {
 public:
  virtual ~AtRest() = default;
  virtual void OnRest() = 0;
};

// Tells `waiter` once this thread, if it is the one that polls, has run all reactions that there
// are, or very many of them: what many of them bring a stream then goes on at once. Others than
// that thread tell it before this returns.
void TellAtRest(std::shared_ptr<AtRest> waiter);

}  // namespace thinkwire::rpc
