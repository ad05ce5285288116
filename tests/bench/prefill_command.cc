#include "tests/bench/prefill_command.h"

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
#include "tests/bench/environment.h"
#include "tests/bench/prefill_simulation.h"

namespace thinkwire::bench {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG

constexpr double kLoads[] = {0.5, 0.8, 0.95};
// First come first served, ageing of various strength, and next to none.
constexpr std::int32_t kPatiences[] = {0, 1, 2, 4, 8, 16, 32, 1 << 16};

struct Options {
  std::int32_t requests = 20'000;
  bool help = false;
};

std::vector<Option> Table(Options& options) {
  return {
      {"requests", &options.requests, "of each line, at least 1,000", AtLeast(1'000)},
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

void PrintLine(const PrefillLoad& load) {
  const PrefillOutcome outcome = SimulatePrefills(load);
  const auto& [short_median, short_p99] = outcome.short_prompts;
  const auto& [long_median, long_p99] = outcome.long_prompts;
  absl::PrintF("| %.2f | %d | %.1f %% | %.3f | %.3f | %.2f | %.2f | %.2f |\n", load.load,
               load.patience, 100 * outcome.in_time, short_median, short_p99, long_median, long_p99,
               outcome.longest);
}

}  // namespace

int RunPrefillCommand(std::span<const char* const> arguments) {
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
  std::puts("| load | patience | in time | short p50 s | p99 | long p50 s | p99 | longest |");
  std::puts("|---|---|---|---|---|---|---|---|");
  for (const double load : kLoads) {
    for (const std::int32_t patience : kPatiences) {
      PrintLine({.load = load, .patience = patience, .requests = options->requests});
    }
  }
  return 0;
}

}  // namespace thinkwire::bench
