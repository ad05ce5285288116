#pragma once

#include <cstdint>

namespace thinkwire::worker::model {

// Bytes of host memory that may still be taken, by /proc/meminfo and the control group's limit.
std::int64_t AvailableHostMemory();

}  // namespace thinkwire::worker::model
