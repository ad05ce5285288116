#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// Greedy in both phases, no think-end id.
step::SamplingParams Greedy();

// One sequence's part of a step.
struct Feed {
  std::int32_t slot = 0;
  std::vector<std::int32_t> ids;  // empty: the last sampled id
  std::int32_t draws = 1;         // tokens, after the last of the ids
  step::Phase phase = step::Phase::kReasoning;
  std::int32_t alternatives = 0;
};

// One drawn token.
struct Drawn {
  std::int32_t id = -1;
  float logprob = 0;
  std::vector<step::Alternative> alternatives = {};
  bool operator==(const Drawn&) const = default;
};

// A small engine for tests: keeps each slot's length and blocks, and builds plans.
class StepDriver {
 public:
  explicit StepDriver(step::Runner& runner) : runner_(runner) {}

  // The slot starts anew at position 0 and draws with `params` from its next step on, the reasoning
  // with `biases` too. Penalties count no prompt.
  void Begin(std::int32_t slot, const step::SamplingParams& params,
             const std::vector<step::LogitBias>& biases = {});

  // Plans and submits one step.
  void Submit(const std::vector<Feed>& feeds);

  // The oldest step's draws, by slot.
  std::map<std::int32_t, std::vector<Drawn>> CollectDraws();

  // Likewise. REQUIRES: no row drew several.
  std::map<std::int32_t, Drawn> Collect();

  std::map<std::int32_t, Drawn> Step(const std::vector<Feed>& feeds);

  // Sends `prompt` in chunks, then `count` - 1 decode steps with `depth` steps in flight.
  // Returns the drawn tokens.
  std::vector<Drawn> Generate(std::int32_t slot, const std::vector<std::int32_t>& prompt,
                              std::int32_t count, std::size_t chunk, int depth);

 private:
  struct Slot {
    std::int32_t length = 0;
    std::int32_t num_blocks = 0;
    bool adjusted = false;
  };

  step::Runner& runner_;
  std::map<std::int32_t, Slot> slots_;
  std::vector<step::SamplingChange> changes_;
  std::vector<step::LogitBias> biases_;                            // of the changes
  std::deque<std::map<std::int32_t, std::int32_t>> alternatives_;  // by slot, of steps in flight
  std::uint64_t step_ = 0;
  std::int32_t next_block_ = 0;  // handed out from the top down, so that none is its own index
};

}  // namespace thinkwire::worker::model
