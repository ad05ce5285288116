#pragma once

#include <cstdint>
#include <vector>

#include "worker/step/runner.h"

namespace thinkwire::worker::model {

// Row counts that decode-only steps are padded up to where steps are recorded: 1, 2, 4, then
// multiples of 8, beyond 256 of 64, the last being max_num_seqs. Ascending.
std::vector<std::int32_t> DecodeBuckets(std::int32_t max_num_seqs);

// Whether every row is one token that draws.
bool IsDecodeOnly(const step::Plan& plan);

}  // namespace thinkwire::worker::model
