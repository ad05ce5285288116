#pragma once

#include <cstdint>
#include <string>

#include "worker/hub/cache.h"

namespace thinkwire::worker {

// `thinkwire-worker --list`, to the exit code: prints a line for each commit of each model that the
// hub's cache has, what its weights and a token in the KV cache take, and whether this machine's
// memory has room for it now.
int RunList();

// One line of it; `free_bytes` of memory are there.
std::string ListLine(const hub::CachedModel& model, std::int64_t free_bytes);

}  // namespace thinkwire::worker
