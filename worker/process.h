#pragma once

#include <functional>
#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "worker/follow.h"
#include "worker/model/load_model.h"

namespace thinkwire::worker {

// How the model comes to be: model::LoadModel, or what a test puts around it.
using ModelLoader = std::function<absl::StatusOr<std::unique_ptr<model::ModelRunner>>(
    const model::ModelOptions& options, std::unique_ptr<model::PlanChannel> plans)>;

// Of a process that serves, and of one that follows.
struct Loaders {
  ModelLoader model;
  FollowerLoader follower;
};

// A whole worker from its command line, without the program's name, to its exit code. Everything
// that can be wrong with options, tokenizer or checkpoint ends in one line on stderr before
// anything listens.
int RunWorker(std::span<const char* const> arguments, const Loaders& loaders);

}  // namespace thinkwire::worker
