#pragma once

#include <span>

namespace thinkwire::worker {

// `thinkwire-worker quantize IN OUT --format FORMAT`, from the arguments behind the word to the
// exit code: writes a smaller checkpoint, and prints what that lost.
int RunQuantize(std::span<const char* const> arguments);

}  // namespace thinkwire::worker
