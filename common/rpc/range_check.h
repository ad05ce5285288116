#pragma once

#include <string>

#include "absl/status/status.h"

namespace thinkwire::rpc {

// Whether a field's value is in [low, high], or (low, high] where `low_open`; NaN is in no range.
// Fails: INVALID_ARGUMENT, which names field, range and value.
absl::Status CheckRange(const std::string& field, double value, double low, double high,
                        bool low_open = false);

}  // namespace thinkwire::rpc
