#pragma once

#include <string>

#include "worker/model/model_runner.h"
#include "worker/step/limits.h"

namespace thinkwire::worker::model {

// What a loaded model takes, and what fits beside it: "weights 18.2 GB (the embedding's 1.6 GB are
// in host memory), KV cache 4.6 GB: 17377 of 131072 tokens of context".
std::string MemoryText(const ModelInfo& info, const step::Limits& limits);

}  // namespace thinkwire::worker::model
