// thinkwire-bench: what the parts of Thinkwire reach beside what the hardware gives.

#include <cstdio>
#include <cstring>
#include <span>
#include <string_view>

#include "common/version.h"
#include "tests/bench/affinity_command.h"
#include "tests/bench/engine_command.h"
#include "tests/bench/model_folder.h"
#include "tests/bench/overload_command.h"
#include "tests/bench/prefill_command.h"
#include "tests/bench/serve_command.h"
#include "tests/bench/tokenize_command.h"

namespace thinkwire::bench {
namespace {

struct Command {
  const char* name;
  const char* what;
  int (*run)(std::span<const char* const> arguments);
};

constexpr Command kCommands[] = {
    {"engine", "decoding and reading prompts through the engine, without RPC", RunEngineCommand},
    {"serve", "load through router and worker: latencies, throughput, and the contract",
     RunServeCommand},
    {"folder", "a model folder in a distill's shape, for a worker with random weights",
     RunFolderCommand},
    {"prefill", "which prompt first: times to the first token, simulated", RunPrefillCommand},
    {"affinity", "which worker for a conversation's next turn: cached tokens and times, simulated",
     RunAffinityCommand},
    {"overload", "requests with a deadline, more than the workers can do: goodput, simulated",
     RunOverloadCommand},
    {"tokenize", "loading a tokenizer and encoding texts with it", RunTokenizeCommand},
};

int Main(std::span<const char* const> arguments) {
  if (!arguments.empty()) {
    for (const Command& command : kCommands) {
      if (std::strcmp(arguments[0], command.name) == 0) return command.run(arguments.subspan(1));
    }
  }
  const std::string_view first = arguments.empty() ? "" : arguments[0];
  if (first == "--version") {
    std::fputs(VersionLine("thinkwire-bench").c_str(), stdout);
    return 0;
  }
  const bool help = first == "--help" || first == "-h";
  std::FILE* out = help ? stdout : stderr;
  std::fputs("usage: thinkwire-bench --version | COMMAND [--help]\n", out);
  for (const Command& command : kCommands)
    std::fprintf(out, "  %s: %s\n", command.name, command.what);
  return help ? 0 : 78;  // EX_CONFIG
}

}  // namespace
}  // namespace thinkwire::bench

int main(int argc, char** argv) {
  return thinkwire::bench::Main({argv + 1, static_cast<std::size_t>(argc > 0 ? argc - 1 : 0)});
}
