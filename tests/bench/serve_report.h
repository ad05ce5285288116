#pragma once

#include <string>
#include <vector>

#include "tests/bench/serve_load.h"
#include "tests/bench/serve_memory.h"
#include "tests/bench/serve_options.h"
#include "tests/bench/serve_summary.h"

namespace thinkwire::bench {

// All that there is to say of a load.
struct ServeReport {
  const ServeOptions& options;
  std::string variant;  // empty: the router's choice
  const LoadResult& load;
  const Summary& summary;
  const std::vector<MemoryWatch::Process>& memory;
};

// One line, without a line feed. `tokens_per_second`: lately.
std::string DescribeProgress(const LoadProgress& progress, double tokens_per_second);

// For people, a few lines.
std::string DescribeReport(const ServeReport& report);

// For programs: one JSON object.
std::string ToJson(const ServeReport& report);

}  // namespace thinkwire::bench
