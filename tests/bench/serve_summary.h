#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/bench/serve_options.h"
#include "tests/bench/serve_record.h"

namespace thinkwire::bench {

// How values are spread; all 0 where there is none.
struct Percentiles {
  std::size_t count = 0;
  double mean = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
};

// Of all streams, warm-up included: what a server's own counters can be held against.
struct Totals {
  std::int64_t requests = 0;
  TokenCounts tokens;
};

struct Summary {
  std::array<Totals, std::size(kOutcomes)> totals;  // by Outcome
  std::map<std::string, std::int64_t> refusals;     // by gRPC code
  std::int64_t wrong_requests = 0;                  // that had to be refused
  std::int64_t violations = 0;                      // of the contract
  std::vector<std::string> complaints;              // the first violations and failures
  std::int64_t failed() const {
    return totals[static_cast<std::size_t>(Outcome::kFailed)].requests;
  }

  // Of the streams after the warm-up that were not meant to be refused, from the first one's
  // sending to the last one's end. Seconds.
  std::int64_t measured = 0;
  std::int64_t measured_completed = 0;
  double seconds = 0;
  std::int64_t output_tokens = 0;
  double requests_per_second = 0;       // completed
  double output_tokens_per_second = 0;  // output tokens / seconds
  // Of waves: tokens that came while all streams of one decoded, after the last one's first tokens
  // and until the first one's last, by the time between; the median of all waves that had such a
  // time. As `thinkwire-bench engine` counts, reading prompts left out. Unset: no such wave.
  std::optional<double> decode_tokens_per_second;
  double goodput_per_second = 0;  // completed within the wanted time
  double goodput_share = 0;       // of those that we did not cancel, shed ones included

  Percentiles send_lag;  // from due to sent
  // From the sending:
  Percentiles first_token;
  Percentiles first_reasoning_token;
  Percentiles first_answer_token;
  Percentiles completion;  // to the end of the completed ones
  // Of each stream, (last token - first) / tokens after those that came first.
  Percentiles time_per_output_token;
};

// `shed` as the load says.
Summary Summarize(std::span<const StreamRecord> records, std::int64_t shed,
                  const ServeOptions& options);

}  // namespace thinkwire::bench
