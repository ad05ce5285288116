#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/engine/engine.h"
#include "worker/step/runner.h"

namespace thinkwire::bench {

// Sequences of equal length that are asked for at once and run to their end, whatever they say.
struct BatchSpec {
  std::int32_t sequences = 1;
  std::int32_t prompt_tokens = 1;  // random ids, different in each sequence
  std::int32_t output_tokens = 1;
  std::uint64_t seed = 0;  // of prompts and sampling
};

struct BatchTimes {
  double prefill_seconds = 0;         // from asking to the last sequence's first token
  double decode_seconds = 0;          // from there to the last token of all
  std::int64_t generated_tokens = 0;  // in all
  std::int64_t decoded_tokens = 0;    // of them within decode_seconds
};

// Whether all sequences fit the runner together; without that the batch would not run as one.
// Fails: INVALID_ARGUMENT with both numbers.
absl::Status CheckFits(const BatchSpec& spec, const worker::step::Limits& limits);

// Runs one batch through `engine`, at temperature 0.6 and top_p 0.95, and waits for its end.
// Sequences whose first token came early wait for the others, by a reader that takes nothing, so
// that all then decode in step and the rate is one of the full batch.
// REQUIRES: CheckFits; the engine runs nothing else and waits long for slow readers.
// Fails: INTERNAL if a sequence ends before its length.
absl::StatusOr<BatchTimes> RunBatch(worker::engine::Engine& engine,
                                    const worker::step::Limits& limits, const BatchSpec& spec);

}  // namespace thinkwire::bench
