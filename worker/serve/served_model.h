#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/peer_limits.h"
#include "worker/engine/thinking.h"
#include "worker/step/limits.h"
#include "worker/step/sampling.h"

namespace thinkwire::worker::serve {

// How long requests think, as the worker's options have it.
struct ThinkingOptions {
  std::int32_t max_tokens = 0;      // a ceiling of reasoning tokens; 0: none
  std::int32_t default_tokens = 0;  // where a request has no budget; 0: no limit
  std::string closing_text = "\n\nTime to answer.\n";
  std::optional<engine::LoopLimits> loops = {};  // where a request has none
};

// What the service knows of the model behind the engine.
struct ServedModel {
  std::string name;
  std::string fingerprint;
  step::Limits limits;
  std::int32_t max_queue = kMaxQueue;
  step::PhaseSampling sampling_defaults = {};  // of both phases; no penalties but repetition's
  std::vector<std::int32_t> end_of_sequence_ids = {};  // the engine's
  ThinkingOptions thinking = {};
};

}  // namespace thinkwire::worker::serve
