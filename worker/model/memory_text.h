#pragma once

#include <string>

#include "worker/model/model_runner.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {

// What a loaded model takes, and what fits beside it: "weights 18.1 GB (the embedding's 1.6 GB are
// in host memory), KV cache 4.3 GB: 16337 of 16407 tokens of context".
std::string MemoryText(const ModelInfo& info, const step::Limits& limits);

}  // namespace thinkwire::worker::model
