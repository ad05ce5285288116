#pragma once

#include <span>

namespace thinkwire::bench {

// `thinkwire-bench tokenize`: how long a tokenizer takes to load, how fast it encodes texts, and
// how its time grows with inputs made to be slow. One thread; prints tables on stdout. The
// process's exit code: 0, 1 what failed in one line on stderr, 78 a wrong option.
int RunTokenizeCommand(std::span<const char* const> arguments);

}  // namespace thinkwire::bench
