#include "tests/bench/overload_command.h"

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/log.h"
#include "common/options.h"
#include "common/status.h"
#include "tests/bench/environment.h"
#include "tests/bench/overload_simulation.h"

namespace thinkwire::bench {
namespace {

constexpr int kExitConfig = 78;  // EX_CONFIG

constexpr double kLoads[] = {0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 8};

struct Options {
  std::int32_t hours = 1;
  std::int32_t seed = 1;
  bool help = false;
};

std::vector<Option> Table(Options& options) {
  return {
      {"hours", &options.hours, "of arrivals, for each line", AtLeast(1)},
      {"seed", &options.seed, "of arrivals and lengths", AtLeast(1)},
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

void PrintLine(const std::string& name, const OverloadLoad& load) {
  const OverloadOutcome outcome = SimulateOverload(load);
  const TenantOutcome& steady = outcome.steady;
  const double percent = 100.0 / static_cast<double>(steady.arrived);
  absl::PrintF(
      "| %s | %.2f | %.2f | %.1f %% | %.1f %% | %.1f %% | %.1f | %.1f | %.2f | %.1f %% | %.2f |\n",
      name, load.load + load.flood, steady.goodput_per_s,
      percent * static_cast<double>(steady.in_time), percent * static_cast<double>(steady.refused),
      percent * static_cast<double>(steady.late), steady.median_s, steady.p99_s,
      steady.refusal_p99_s, 100 * outcome.wasted, outcome.most_load);
  std::fflush(stdout);
}

void PrintLoads(const OverloadLoad& base) {
  for (const bool waits_in_router : {true, false}) {
    for (const double times : kLoads) {
      OverloadLoad load = base;
      load.load = times;
      load.waits_in_router = waits_in_router;
      PrintLine(waits_in_router ? "waits in the router" : "waits at the workers", load);
    }
  }
}

// Clients that come again, at one worker whose streams hold each other up as a CPU's do: of a step
// all but a fifth are its rows. The deadline is three times what a request takes alone.
void PrintClients(std::int32_t places) {
  OverloadLoad load = {
      .seconds = 300,
      .max_tokens = 256,
      .workers = 1,
      .speed = {.places = places, .step_s = 1e-4, .input_s = 4e-4, .tick_s = 5e-3}};
  load.deadline_s = 3 * load.max_tokens * load.speed.StepSeconds(1);
  for (const std::size_t clients : {1, 2, 4, 8, 16, 32}) {
    load.clients = clients;
    const TenantOutcome outcome = SimulateOverload(load).steady;
    absl::PrintF("| %d | %d | %.2f | %d | %d | %.2f | %.2f |\n", places, clients,
                 outcome.goodput_per_s, outcome.refused, outcome.late, outcome.median_s,
                 outcome.p99_s);
  }
}

void PrintBadDays(const OverloadLoad& base) {
  OverloadLoad load = base;
  load.load = 0.8;
  load.crowd = 5;
  PrintLine("flash crowd, 5 times", load);
  load = base;
  load.load = 3;
  load.report_s = 3;
  PrintLine("workers speak every 3 s", load);
  load.report_s = base.report_s;
  load.longer = 4;
  load.load = 0.75;
  PrintLine("outputs 4 times as long", load);
  load = base;
  load.load = 0.3;
  PrintLine("one tenant alone", load);
  load.flood = 5;
  PrintLine("the same beside a flood", load);
}

}  // namespace

int RunOverloadCommand(std::span<const char* const> arguments) {
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
  SetLogLevel(LogLevel::kError);  // that a worker is live is no news here
  absl::PrintF("Four workers, which can do %.1f requests a second.\n\n", CapacityPerSecond());
  std::puts(
      "| router | load | in time/s | in time | refused | late | p50 s | p99 s | refused after p99 "
      "s "
      "| wasted | busiest |");
  std::puts("|---|---|---|---|---|---|---|---|---|---|---|");
  const OverloadLoad base = {.seconds = 3'600.0 * options->hours,
                             .seed = static_cast<std::uint32_t>(options->seed)};
  PrintLoads(base);
  PrintBadDays(base);
  std::puts("\n| places | clients | in time/s | refused | late | p50 s | p99 s |");
  std::puts("|---|---|---|---|---|---|---|");
  for (const std::int32_t places : {1, 4, 16}) PrintClients(places);
  return 0;
}

}  // namespace thinkwire::bench
