#pragma once

#include <cstdint>
#include <vector>

// What comes back from the model: flat data, as the plan is.
namespace thinkwire::worker::step {

// A token that might have been drawn, and the natural logarithm of its probability under the
// model's own distribution (temperature 1, nothing adjusted, nothing cut off).
struct Alternative {
  std::int32_t id = 0;
  float logprob = 0;
  bool operator==(const Alternative&) const = default;
};

// What one row that draws gave, in the order of the plan's rows.
struct RowResult {
  std::int32_t slot = 0;
  std::int32_t first_id = 0;  // index into Result::ids and ::logprobs
  // The first of the row's draws, in the order of the inputs that they follow: [0, draws]. A model
  // gives all of them. A runner that verifies drafts gives those that stand: it leaves out what was
  // drawn after an input that is not the token drawn before it.
  std::int32_t num_ids = 0;
  bool not_finite = false;  // the logits held a NaN or infinity: the ids mean nothing
  // Into Result::alternatives: as many as the row asked for, for each of its ids.
  std::int32_t first_alternative = 0;
};

struct Result {
  std::uint64_t step = 0;
  std::vector<RowResult> rows = {};
  std::vector<std::int32_t> ids = {};
  // Natural logarithm of the token's probability under the model's own distribution
  // (temperature 1, nothing cut off), parallel to ids; 0 where the row did not ask for it.
  std::vector<float> logprobs = {};
  // Of the rows that asked for them: the most probable ids, most probable first, ties lowest id
  // first, with what logprobs would say of them.
  std::vector<Alternative> alternatives = {};
};

}  // namespace thinkwire::worker::step
