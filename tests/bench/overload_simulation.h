#pragma once

#include <cstdint>

#include "tests/bench/simulated_worker.h"

namespace thinkwire::bench {

// Requests with a deadline, on workers of one variant.
struct OverloadLoad {
  double load = 1;              // requests that come, of those that all places busy can do
  double flood = 0;             // the same of a second tenant beside
  bool waits_in_router = true;  // false: all go to the workers at once and wait there
  double deadline_s = 60;       // of each, from its arrival
  double report_s = 0.1;        // between two words of a worker
  double longer = 1;            // outputs are so many times as long as drawn
  bool learns = true;           // from those that have ended
  double seconds = 900;         // of arrivals; those of the first fifth are not counted
  double crowd = 1;             // so many times the load in the third fifth, which is a flash crowd
  std::uint32_t seed = 1;       // equal ones meet every router
  // In place of requests at random: so many clients, each of whom asks again once it was answered
  // or given up, or when it is told to (DispatchQueue::ComeAgain).
  std::size_t clients = 0;
  double max_tokens = 0;  // that each request says, has drawn and no more; 0: as long as drawn
  std::size_t workers = 4;
  SimulatedSpeed speed{};
};

// Of one tenant.
struct TenantOutcome {
  std::int64_t arrived = 0;
  std::int64_t in_time = 0;
  std::int64_t refused = 0;  // before a worker had them
  std::int64_t late = 0;     // ended by their deadline, wherever they were
  double goodput_per_s = 0;  // those in time
  double median_s = 0;       // of those in time, from arrival to end
  double p99_s = 0;
  double refusal_p99_s = 0;  // from arrival to the refusal
};

struct OverloadOutcome {
  TenantOutcome steady;
  TenantOutcome flood;
  // Of the last fifth alone, of the steady tenant: shares of those that arrived.
  double last_in_time = 0;
  double wasted = 0;     // of the tokens that were made, those of requests that came too late
  double most_load = 0;  // of the busiest worker, over the mean of all, on average over time
};

// Requests a second that four GPUs (SimulatedSpeed) together can do, with all places busy.
double CapacityPerSecond();

// The router's own queue, fair shares, refusals, decision, ledger of places and learning
// (admission::DispatchQueue, fleet::FindPlace, fleet::Roster, decision::ScorePolicy, Experience)
// against a clock of their own, half an hour in a second. Requests come at random (Poisson), as
// long as those of output_lengths.h. Who is late is given up at its worker, as everywhere. Equal
// loads give equal outcomes.
OverloadOutcome SimulateOverload(const OverloadLoad& load);

}  // namespace thinkwire::bench
