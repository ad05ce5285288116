// thinkwire-worker: one model behind WorkerService.

#include <cstddef>
#include <memory>
#include <utility>

#include "worker/model/load_model.h"
#include "worker/process.h"

namespace model = thinkwire::worker::model;

int main(int argc, char** argv) {
  return thinkwire::worker::RunWorker(
      {argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)},
      {.model =
           [](const model::ModelOptions& options, std::unique_ptr<model::PlanChannel> plans) {
             return model::LoadModel(options, std::move(plans));
           },
       .follower = model::LoadFollower});
}
