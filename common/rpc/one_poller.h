#pragma once

namespace thinkwire::rpc {

// From now on one thread at a time polls for gRPC's callbacks and runs them, for as long as it can.
// gRPC 1.51 has two of them poll by turns, or more on larger machines: whenever one has got
// something, it first wakes another to poll in its place, and that is a switch of threads for each
// message that a server passes on, a quarter of what it takes (tests/bench/RESULTS.md). They fetch
// what there is to do with a function of gRPC's C interface, which this file replaces: all but one
// of them wait in it. So what a reaction takes, all others wait for. What may take long says so
// (LetAnotherPoll), and no reaction waits for another.
// Of no effect on queues that a program polls itself. Threads: any.
void PollWithOneThread();

// Of a reaction that may take long, in its beginning: another thread polls from now on, and this
// one waits for its turn again after the reaction. gRPC has a thread for every two processors, and
// at least two; nobody polls where all are in such reactions.
void LetAnotherPoll();

}  // namespace thinkwire::rpc
