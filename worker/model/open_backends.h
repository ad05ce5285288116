#pragma once

#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker::model {

// How many ranks of the model this process has.
std::int32_t RanksHere(const ModelOptions& options);

// One backend a rank of this process, whatever the model, or none and why in one sentence.
struct OpenedBackends {
  std::vector<std::unique_ptr<kernels::Backend>> backends;
  std::string error;
};
OpenedBackends OpenBackends(const ModelOptions& options);

// The same on a thread of its own, beside the reading of a checkpoint: a GPU's context takes as
// long as the hash of ten gigabytes. `options` must outlive the future, which waits for the thread
// where it ends.
std::future<OpenedBackends> OpenBackendsBeside(const ModelOptions& options);

}  // namespace thinkwire::worker::model
