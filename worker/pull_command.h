#pragma once

#include <span>

namespace thinkwire::worker {

// `thinkwire-worker pull NAME[@REVISION]`, from the arguments behind the word to the exit code:
// downloads what a worker needs of a model, and prints the folder that has it. What is here is
// asked of the hub nevertheless, as a branch may have gone on; where the hub cannot be reached, or
// HF_HUB_OFFLINE forbids it, what is here will do if it is whole.
int RunPull(std::span<const char* const> arguments);

}  // namespace thinkwire::worker
