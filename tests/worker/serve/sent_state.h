#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "thinkwire/v1/reasoning.pb.h"

namespace thinkwire::worker::serve {

// What a router keeps of a stream whose reader has seen `events`, so that another worker can go on.
// Of Started and what came before it nothing is needed but `first_phase`.
v1::ResumeState StateAfter(const std::vector<std::int32_t>& prompt_ids, v1::Phase first_phase,
                           std::span<const v1::GenerateResponse> events);

}  // namespace thinkwire::worker::serve
