#pragma once

#include <span>

namespace thinkwire::bench {

// `thinkwire-bench engine`: prints a table on stdout as it grows, and writes the JSON after each
// figure. The process's exit code: 0, 1 what failed in one line on stderr, 78 a wrong option.
int RunEngineCommand(std::span<const char* const> arguments);

}  // namespace thinkwire::bench
