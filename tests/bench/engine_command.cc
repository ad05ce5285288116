#include "tests/bench/engine_command.h"

#include <unistd.h>

#include <cstdio>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "tests/bench/engine_bench.h"
#include "tests/bench/engine_compare.h"
#include "tests/bench/engine_options.h"
#include "tests/bench/engine_report.h"
#include "tests/bench/text_file.h"

namespace thinkwire::bench {
namespace {

constexpr int kExitFailure = 1;
constexpr int kExitConfig = 78;  // EX_CONFIG

int Fail(int code, const absl::Status& status) {
  std::fprintf(stderr, "thinkwire-bench: %s\n", std::string(status.message()).c_str());
  return code;
}

// On a terminal alone, a line over the one before.
void ShowNote(const std::string& note) {
  if (::isatty(STDERR_FILENO) != 1) return;
  std::fprintf(stderr, "\r\033[K%s", note.c_str());
}

void PrintProgress(const EngineReport& report) {
  const std::string text = report.figures.empty()
                               ? absl::StrCat(DescribeRun(report), "\n", TableHead())
                               : TableLine(report.figures.back());
  ShowNote("");
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

int RunCompare(const EngineBenchOptions& options) {
  const auto pairs =
      RunPairs(options.compare, "/proc/self/exe", options.pairs, ProcessWith(options));
  if (!pairs.ok()) return Fail(kExitFailure, pairs.status());
  const auto figures = CompareRuns(*pairs);
  if (!figures.ok()) return Fail(kExitFailure, figures.status());
  std::fputs(CompareTable(*pairs, *figures).c_str(), stdout);
  return 0;
}

}  // namespace

int RunEngineCommand(std::span<const char* const> arguments) {
  const auto options = ParseEngineOptions(arguments);
  if (!options.ok()) return Fail(kExitConfig, options.status());
  if (options->help) {
    std::fputs(EngineUsage().c_str(), stdout);
    return 0;
  }
  if (!options->compare.empty()) return RunCompare(*options);
  absl::Status written;
  const auto on_progress = [&](const EngineReport& so_far) {
    PrintProgress(so_far);
    if (!options->json.empty()) written = WriteTextFile(options->json, ToJson(so_far));
  };
  const auto report = RunEngineBench(*options, on_progress, ShowNote);
  ShowNote("");
  if (!report.ok()) return Fail(kExitFailure, report.status());
  if (!written.ok()) return Fail(kExitFailure, written);
  if (report->peak_gpu_bytes > 0) {
    std::printf("peak of GPU memory in use: %.3f GB of %.3f\n",
                static_cast<double>(report->peak_gpu_bytes) / 1e9, options->gpu_memory_bytes / 1e9);
  }
  return 0;
}

}  // namespace thinkwire::bench
