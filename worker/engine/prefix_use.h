#pragma once

#include <cstdint>

namespace thinkwire::worker::engine {

// What admissions asked of the prefix cache, since start. A preempted sequence asks again when it
// comes back.
struct PrefixUse {
  std::uint64_t queries = 0;
  std::uint64_t hits = 0;          // queries that found a block
  std::uint64_t query_tokens = 0;  // ids of the sequences that asked
  std::uint64_t hit_tokens = 0;    // of them, not computed again
};

}  // namespace thinkwire::worker::engine
