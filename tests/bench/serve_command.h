#pragma once

#include <span>

namespace thinkwire::bench {

// `thinkwire-bench serve`: shows progress on stderr, prints what came of it on stdout, and writes
// the JSON at the end. The process's exit code: 0; 1 where a stream failed or broke the contract,
// or there is no such router, in one line on stderr; 78 a wrong option.
int RunServeCommand(std::span<const char* const> arguments);

}  // namespace thinkwire::bench
