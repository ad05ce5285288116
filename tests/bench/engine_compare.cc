#include "tests/bench/engine_compare.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/status.h"
#include "nlohmann/json.hpp"
#include "tests/bench/environment.h"

namespace thinkwire::bench {
namespace {

using nlohmann::json;

bool IsFigure(const json& figure) {
  if (!figure.is_object()) return false;
  const auto has = [&](const char* name, auto is) {
    return figure.contains(name) && (figure[name].*is)();
  };
  return has("kind", &json::is_string) && has("sequences", &json::is_number_integer) &&
         has("prompt_tokens", &json::is_number_integer) &&
         has("tokens_per_second", &json::is_number) && figure["tokens_per_second"] > 0.0;
}

Rate ToRate(const json& figure) {
  return {absl::StrFormat("%s %d x %d", figure["kind"].get<std::string>(),
                          figure["sequences"].get<std::int64_t>(),
                          figure["prompt_tokens"].get<std::int64_t>()),
          figure["tokens_per_second"].get<double>()};
}

bool SameFigures(const RatedRun& a, const RatedRun& b) {
  return std::ranges::equal(a.rates, b.rates, {}, &Rate::figure, &Rate::figure);
}

absl::StatusOr<RatedRun> RunOnce(const std::string& program, const RunProgram& run) {
  ASSIGN_OR_RETURN(const std::string text, run(program));
  return ReadRatedRun(text);
}

// The mean of the two in the middle where there are two: the higher one would flatter a build.
double Middle(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

ComparedFigure Compare(const std::vector<RunPair>& pairs, std::size_t figure) {
  std::vector<double> before;
  std::vector<double> after;
  std::vector<double> ratios;
  for (const RunPair& pair : pairs) {
    before.push_back(pair.before.rates[figure].tokens_per_second);
    after.push_back(pair.after.rates[figure].tokens_per_second);
    ratios.push_back(after.back() / before.back());
  }
  const auto [lowest, highest] = std::ranges::minmax(ratios);
  return {pairs.front().before.rates[figure].figure,
          Middle(before),
          Middle(after),
          Middle(ratios),
          lowest,
          highest};
}

std::vector<char*> Pointers(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<char*> EnvironmentWithoutOptions() {
  std::vector<char*> kept;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with(kEnvironment)) kept.push_back(*variable);
  }
  kept.push_back(nullptr);
  return kept;
}

// An empty file of its own.
absl::StatusOr<std::string> MakeFile() {
  std::string path = (std::filesystem::temp_directory_path() / "thinkwire-bench-XXXXXX").string();
  const int file = ::mkstemp(path.data());
  if (file < 0) return absl::InternalError(absl::StrCat("cannot make ", path));
  ::close(file);
  return path;
}

absl::Status RunProcess(const std::string& program, std::vector<std::string> arguments) {
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  const absl::Cleanup destroy = [&] { ::posix_spawn_file_actions_destroy(&actions); };
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, program.c_str(), &actions, nullptr,
                                  Pointers(arguments).data(), EnvironmentWithoutOptions().data());
  if (error != 0) {
    return absl::InternalError(absl::StrCat("cannot start ", program, ": ", std::strerror(error)));
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  return absl::InternalError(
      WIFEXITED(status) ? absl::StrCat(program, " ended with status ", WEXITSTATUS(status))
                        : absl::StrCat(program, " was ended by signal ", WTERMSIG(status)));
}

std::string ReadWhole(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

absl::StatusOr<RatedRun> ReadRatedRun(const std::string& json_text) {
  const json report = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  const bool whole = report.is_object() && report.contains("fingerprint") &&
                     report["fingerprint"].is_string() && report.contains("figures") &&
                     report["figures"].is_array() &&
                     std::ranges::all_of(report["figures"], IsFigure);
  if (!whole) return absl::InvalidArgumentError("a run wrote no figures of `engine`");
  RatedRun run = {report["fingerprint"].get<std::string>(), {}};
  for (const json& figure : report["figures"]) run.rates.push_back(ToRate(figure));
  return run;
}

absl::StatusOr<std::vector<RunPair>> RunPairs(const std::string& before, const std::string& after,
                                              std::int32_t pairs, const RunProgram& run) {
  std::vector<RunPair> done;
  for (std::int32_t i = 0; i < pairs; ++i) {
    const bool swapped = i % 2 == 1;
    ASSIGN_OR_RETURN(RatedRun first, RunOnce(swapped ? after : before, run));
    ASSIGN_OR_RETURN(RatedRun second, RunOnce(swapped ? before : after, run));
    if (swapped) std::swap(first, second);
    done.push_back({std::move(first), std::move(second)});
  }
  return done;
}

absl::StatusOr<std::vector<ComparedFigure>> CompareRuns(const std::vector<RunPair>& pairs) {
  const RatedRun& model = pairs.front().before;
  const bool same = std::ranges::all_of(pairs, [&](const RunPair& pair) {
    return SameFigures(pair.before, model) && SameFigures(pair.after, model);
  });
  if (!same) return absl::InvalidArgumentError("the two builds do not print the same figures");
  std::vector<ComparedFigure> figures;
  for (std::size_t i = 0; i < model.rates.size(); ++i) figures.push_back(Compare(pairs, i));
  return figures;
}

std::string CompareTable(const std::vector<RunPair>& pairs,
                         const std::vector<ComparedFigure>& figures) {
  std::string text =
      absl::StrFormat("before: fingerprint %s\nafter: fingerprint %s\n%-24s %12s %12s %7s %15s\n",
                      pairs.front().before.fingerprint, pairs.front().after.fingerprint, "figure",
                      "before, tok/s", "after, tok/s", "ratio", "lowest-highest");
  for (const ComparedFigure& figure : figures) {
    absl::StrAppendFormat(&text, "%-24s %12.1f  %12.1f %7.3f %9.3f-%.3f\n", figure.figure,
                          figure.before, figure.after, figure.ratio, figure.lowest, figure.highest);
  }
  return text;
}

RunProgram ProcessWith(const EngineBenchOptions& options) {
  EngineBenchOptions child = options;
  child.compare.clear();
  child.pairs = EngineBenchOptions().pairs;
  return [child](const std::string& program) mutable -> absl::StatusOr<std::string> {
    ASSIGN_OR_RETURN(child.json, MakeFile());
    const absl::Cleanup remove = [&] { ::unlink(child.json.c_str()); };
    std::vector<std::string> arguments = ArgumentsOf(child);
    arguments.insert(arguments.begin(), {program, "engine"});
    RETURN_IF_ERROR(RunProcess(program, std::move(arguments)));
    return ReadWhole(child.json);
  };
}

}  // namespace thinkwire::bench
