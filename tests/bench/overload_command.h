#pragma once

#include <span>

namespace thinkwire::bench {

// Prints what becomes of requests with a deadline under loads below and above what the workers can
// do (SimulateOverload). Returns the exit code.
int RunOverloadCommand(std::span<const char* const> arguments);

}  // namespace thinkwire::bench
