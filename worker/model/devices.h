#pragma once

#include <memory>
#include <vector>

#include "worker/kernels/backend.h"
#include "worker/parallel/communicator.h"

namespace thinkwire::worker::model {

// What a model runs on: one of each a rank, in rank order.
struct Devices {
  std::vector<std::unique_ptr<kernels::Backend>> backends;
  std::vector<std::unique_ptr<parallel::Communicator>> communicators;
};

}  // namespace thinkwire::worker::model
