#pragma once

#include <cstdint>
#include <vector>

#include "worker/model/checkpoint/model_config.h"

namespace thinkwire::worker::model {

// [positions, D]: D/2 cosines, then D/2 sines, of position * theta^(-2i/D), stretched as the config
// says, and with yarn multiplied by its attention factor. Frequencies and angles are f32 as in the
// reference; cosines are not rounded to bf16.
std::vector<float> RopeTable(const ModelConfig& config, std::int64_t positions);

}  // namespace thinkwire::worker::model
