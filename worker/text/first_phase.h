#pragma once

#include <cstdint>
#include <span>

#include "worker/text/tokenizer.h"

namespace thinkwire::worker::text {

// In which phase an output begins.
enum class FirstPhase {
  kReasoning,
  kAnswer,
  kUndecided,  // reasoning if the model opens it itself, else the answer
};

// Of the output after these ids, by those after the last end of turn: the last think id among them
// says it. Where there is none it is undecided if the model's turn is open, after `<｜Assistant｜>`
// or the output of a tool, else kAnswer. A thought that an earlier turn left open does not count.
FirstPhase FirstPhaseAfter(std::span<const std::int32_t> prompt_ids, const ControlIds& control);

}  // namespace thinkwire::worker::text
