#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "worker/engine/request.h"
#include "worker/step/runner.h"

namespace thinkwire::worker::engine {

// How many tokens `request` may draw: its max_tokens, or, unset, as many as the context and the
// whole KV cache hold.
// Fails: INVALID_ARGUMENT what is out of range, or could not fit even alone (with both numbers).
absl::StatusOr<std::int32_t> CheckRequest(const Request& request, const step::Limits& limits);

}  // namespace thinkwire::worker::engine
