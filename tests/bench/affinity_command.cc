#include "tests/bench/affinity_command.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/options.h"
#include "common/status.h"
#include "tests/bench/affinity_simulation.h"
#include "tests/bench/environment.h"

namespace thinkwire::bench {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG

constexpr struct {
  const char* name;
  Routing routing;
} kRoutings[] = {{"least loaded", Routing::kLeastLoaded},
                 {"consistent hashing", Routing::kConsistent},
                 {"score, prompts unknown", Routing::kScore},
                 {"score and affinity", Routing::kAffinity}};

constexpr struct {
  double turns_per_s;
  std::int32_t num_blocks;
} kLoads[] = {{4, 24'576}, {16, 24'576}, {32, 24'576}, {40, 24'576}, {16, 8'192}};

struct Options {
  std::int32_t turns = 10'000;
  bool help = false;
};

std::vector<Option> Table(Options& options) {
  return {
      {"turns", &options.turns, "of each line, at least 1,000", AtLeast(1'000)},
      {"help", &options.help, "print this"},
  };
}

absl::StatusOr<Options> Parse(std::span<const char* const> arguments) {
  Options options;
  ASSIGN_OR_RETURN(const std::vector<std::string> rest,
                   ParseOptions(arguments, Table(options), kEnvironment));
  if (options.help || rest.empty()) return options;
  return absl::InvalidArgumentError(absl::StrCat("'", rest.front(), "' is no option"));
}

void PrintLine(const char* name, const AffinityLoad& load) {
  const AffinityOutcome outcome = SimulateAffinity(load);
  absl::PrintF("| %.0f | %d | %s | %.1f %% | %.1f %% | %.3f | %.3f | %.3f | %.1f | %.2f |\n",
               load.turns_per_s, load.num_blocks, name, 100 * outcome.cached,
               100 * outcome.returned, outcome.median_s, outcome.p99_s, outcome.later_p99_s,
               outcome.total_p99_s, outcome.most_load);
}

}  // namespace

int RunAffinityCommand(std::span<const char* const> arguments) {
  const absl::StatusOr<Options> options = Parse(arguments);
  if (!options.ok()) {
    std::fprintf(stderr, "%s\n", std::string(options.status().message()).c_str());
    return kExitConfig;
  }
  if (options->help) {
    Options defaults;
    std::fputs(DescribeOptions(Table(defaults)).c_str(), stdout);
    return 0;
  }
  std::puts(
      "| turns/s | blocks | worker | cached | returned | first token p50 s | p99 | later turns' "
      "p99 | "
      "last token p99 | busiest |");
  std::puts("|---|---|---|---|---|---|---|---|---|---|");
  for (const auto& [rate, blocks] : kLoads) {
    for (const auto& [name, routing] : kRoutings) {
      PrintLine(
          name,
          {.routing = routing, .turns_per_s = rate, .num_blocks = blocks, .turns = options->turns});
      std::fflush(stdout);
    }
  }
  return 0;
}

}  // namespace thinkwire::bench
