#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tests/bench/engine_options.h"

namespace thinkwire::bench {

// Two builds of thinkwire-bench on one machine: each pair runs both, one after the other, and the
// next pair in the other order, so that a machine that warms up favours neither. What counts is the
// ratio within a pair, as machines differ from hour to hour by more than builds do.

// One figure of one run.
struct Rate {
  std::string figure;  // "decode 16 x 512": sequences and tokens of each prompt
  double tokens_per_second = 0;
};
struct RatedRun {
  std::string fingerprint;
  std::vector<Rate> rates;
};
struct RunPair {
  RatedRun before;  // of the build to compare with
  RatedRun after;   // of this one
};

// A figure over all pairs.
struct ComparedFigure {
  std::string figure;
  double before = 0;  // medians, tokens a second
  double after = 0;
  double ratio = 0;  // after to before: the median over the pairs, and its ends
  double lowest = 0;
  double highest = 0;
};

// What `--json` of `thinkwire-bench engine` wrote. Fails: INVALID_ARGUMENT where it is not that.
absl::StatusOr<RatedRun> ReadRatedRun(const std::string& json_text);

// `run` runs the program at a path and returns what ReadRatedRun reads. Fails: as `run` does.
using RunProgram = std::function<absl::StatusOr<std::string>(const std::string& program)>;
absl::StatusOr<std::vector<RunPair>> RunPairs(const std::string& before, const std::string& after,
                                              std::int32_t pairs, const RunProgram& run);

// Fails: INVALID_ARGUMENT where two runs do not have the same figures. REQUIRES: a pair.
absl::StatusOr<std::vector<ComparedFigure>> CompareRuns(const std::vector<RunPair>& pairs);

// Both fingerprints and a line for each figure. REQUIRES: a pair.
std::string CompareTable(const std::vector<RunPair>& pairs,
                         const std::vector<ComparedFigure>& figures);

// A RunProgram that starts a process: `engine` with these options, but `compare`, `pairs` and
// `json`, and without variables of the environment that set options. Its standard output is
// dropped. Fails: INTERNAL, naming the program and how it ended.
RunProgram ProcessWith(const EngineBenchOptions& options);

}  // namespace thinkwire::bench
