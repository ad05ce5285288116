#pragma once

#include <span>

namespace thinkwire::bench {

// `thinkwire-bench affinity`: what ways of choosing a worker do to conversations of several turns,
// simulated. One thread, no model; prints a table on stdout. The process's exit code: 0, or 78 a
// wrong option.
int RunAffinityCommand(std::span<const char* const> arguments);

}  // namespace thinkwire::bench
