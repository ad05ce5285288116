#pragma once

#include <cstdint>

namespace thinkwire::bench {

// How a worker is chosen for each turn.
enum class Routing {
  kLeastLoaded,  // the one that has fewest requests, of equals the one that was given fewest
  kConsistent,   // the conversation's, by its hash alone
  kScore,        // ScorePolicy, which is not told of prompts
  kAffinity,     // ScorePolicy, told of them by PrefixIndex
};

// A load of conversations on four workers of one variant.
struct AffinityLoad {
  Routing routing = Routing::kAffinity;
  double turns_per_s = 8;            // of all conversations together, about
  std::int32_t num_blocks = 24'576;  // of KV cache, of a worker; 16 tokens each
  std::int32_t turns = 1'000;        // >= 100; the first fifth is not counted
  std::uint32_t seed = 1;            // of conversations: equal ones meet every routing
};

struct AffinityOutcome {
  double cached = 0;    // share of the prompts' tokens
  double returned = 0;  // of later turns, the share at a worker that had most of the turn before
  double median_s = 0;  // to the first token, from arrival
  double p99_s = 0;
  double later_p99_s = 0;  // of later turns, whose prompts others have computed for the most part
  double total_p99_s = 0;  // to the last
  double most_load = 0;    // of the busiest worker, over the mean of all, on average over time
};

// The real schedulers and block caches of four workers against one clock, with the router's policy,
// its pace and its index before them. Eight applications, the first with a third of the
// conversations, each with a system prompt of 200 to 2,000 tokens of its own; conversations begin
// at random (Poisson) and have five turns on average. A question has 20 to 200 tokens, one in ten
// first ones 1,000 to 6,000 more of a document; an answer 100 to 400, after 100 to 800 of reasoning
// that is not part of the next prompt; the next question comes 20 s later, on average. A step of T
// inputs takes 5.3 ms + T * 26.4 us (an 8B model in bf16 on an H100), and holds 512; 64 slots.
AffinityOutcome SimulateAffinity(const AffinityLoad& load);

}  // namespace thinkwire::bench
