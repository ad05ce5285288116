#pragma once

#include "common/mutex.h"
#include "common/peer_limits.h"

namespace thinkwire::router {

// How many more requests may be given to another worker after the first has failed them: a share of
// all that come, and a reserve for quiet times. Where most workers refuse, retries would multiply
// the load that they refuse; so the budget is the process's, over all requests. A token bucket as
// gRPC's retry throttling (gRFC A6) and Finagle's RetryBudget: each request puts kRetryShare in, up
// to kRetryReserve, each retry takes one out.
//
// Streams that have started are not refused by it: what was computed for them is worth more than
// what moving them costs. MoveSchedule spreads them instead.
// Threads: any.
class RetryBudget {
 public:
  // A request has come.
  void Deposit();
  // Whether one may be retried, which is then counted.
  bool Withdraw();

 private:
  Mutex mu_;
  double retries_ ABSL_GUARDED_BY(mu_) = kRetryReserve;
};

}  // namespace thinkwire::router
