#pragma once

#include <cstdint>

namespace thinkwire::bench {

// A load on one worker, and the order in which it computes prompts.
struct PrefillLoad {
  double load = 0.5;          // of the input tokens that full steps could take, (0, 1)
  std::int32_t patience = 0;  // PrefillOrder's; 0: first come, first served
  std::int32_t requests = 1;  // >= 1
  std::uint32_t seed = 1;     // of arrivals and lengths: equal ones meet every order
};

// Times to the first token, in seconds from arrival.
struct PrefillTimes {
  double median = 0;
  double p99 = 0;
};

struct PrefillOutcome {
  double in_time = 0;  // share of the requests, by kGraceSeconds
  PrefillTimes short_prompts;
  PrefillTimes long_prompts;
  double longest = 0;  // of all
};

// A request is in time if its first token comes within so long, beyond twice what its prompt would
// take alone.
inline constexpr double kGraceSeconds = 0.5;

// The real scheduler against a clock of its own. Requests come at random (Poisson); of 20 prompts
// 16 are short (20-200 tokens), three of 1,000-4,000 and one long (8,000-30,000), each followed by
// 20-180 tokens drawn. A step of T inputs takes 5.3 ms + T * 26.4 us, which is an 8B model in bf16
// on an H100, and holds 512; slots and KV blocks are never short, nothing is cached.
PrefillOutcome SimulatePrefills(const PrefillLoad& load);

}  // namespace thinkwire::bench
