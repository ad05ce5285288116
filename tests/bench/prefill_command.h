#pragma once

#include <span>

namespace thinkwire::bench {

// `thinkwire-bench prefill`: what orders of prompts do to times to the first token, simulated at
// three loads. One thread, no model; prints a table on stdout. The process's exit code: 0, or 78 a
// wrong option.
int RunPrefillCommand(std::span<const char* const> arguments);

}  // namespace thinkwire::bench
