#pragma once

#include <string>
#include <vector>

#include "worker/hub/cache.h"
#include "worker/model/model_fit.h"

namespace thinkwire::worker {

// `thinkwire-worker --list`, to the exit code: prints for each commit of each model that the hub's
// cache has what it takes of the memory of this machine's GPUs and of the machine itself, and how
// much context it can serve there now, with that --kv_cache_dtype.
int RunList(const std::string& kv_cache_dtype);

// What is free here, a line for each place.
std::string PlaceLines(const std::vector<model::MemoryPlace>& places);

// The lines of one model.
std::string ListLines(const hub::CachedModel& model, const std::vector<model::MemoryPlace>& places,
                      const std::string& kv_cache_dtype);

}  // namespace thinkwire::worker
