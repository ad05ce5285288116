// thinkwire-worker-faults [--fault=KIND:STEP[:RANK]] …: the worker itself, which fails on purpose,
// or is slow, as tests/fakes/fault.h says. The options after the fault are the worker's.

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "tests/fakes/fault.h"
#include "worker/process.h"

namespace thinkwire::worker {
namespace {

int Main(std::span<const char* const> arguments) {
  constexpr std::string_view kOption = "--fault=";
  std::string_view fault;
  if (!arguments.empty() && std::string_view(arguments[0]).starts_with(kOption)) {
    fault = std::string_view(arguments[0]).substr(kOption.size());
    arguments = arguments.subspan(1);
  }
  return RunWorker(
      arguments,
      {.model =
           [fault](const model::ModelOptions& options, std::unique_ptr<model::PlanChannel> plans) {
             return model::LoadModelWithFault(options, std::move(plans), fault);
           },
       .follower =
           [fault](const model::ModelOptions& options, std::unique_ptr<model::PlanChannel> plans) {
             return model::LoadFollowerWithFault(options, std::move(plans), fault);
           }});
}

}  // namespace
}  // namespace thinkwire::worker

int main(int argc, char** argv) {
  return thinkwire::worker::Main({argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
}
