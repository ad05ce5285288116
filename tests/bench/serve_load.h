#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "tests/bench/serve_options.h"
#include "tests/bench/serve_record.h"
#include "tests/bench/serve_workload.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::bench {

// How a load is going.
struct LoadProgress {
  double seconds = 0;  // since it began
  std::int32_t in_flight = 0;
  std::int64_t sent = 0;
  std::int64_t shed = 0;
  std::array<std::int64_t, std::size(kOutcomes)> ended = {};  // by Outcome
  std::int64_t violations = 0;
  std::int64_t tokens = 0;
  bool over = false;  // the last word
};

// What a load left.
struct LoadResult {
  std::vector<StreamRecord> records;  // one a request sent, in the order of their ends
  std::int64_t shed = 0;              // were due while --max_in_flight were in flight
  double seconds = 0;                 // to the last end
  double cpu_seconds = 0;             // of this process meanwhile
};

// Sends requests as the options say until enough are sent, and waits until every stream has ended.
// Calls `on_progress` about once a second and at the end, on the calling thread.
LoadResult RunLoad(const ServeOptions& options, const Workload& workload,
                   v1::ReasoningService::Stub& stub,
                   const std::function<void(const LoadProgress&)>& on_progress);

}  // namespace thinkwire::bench
