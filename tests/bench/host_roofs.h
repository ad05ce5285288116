#pragma once

#include "tests/bench/device_roofs.h"

namespace thinkwire::bench {

// Plain reads of memory, and multiply-adds in the widest registers that the machine has, on so many
// threads; 0: one a core.
DeviceRoofs MeasureHostRoofs(int threads);

}  // namespace thinkwire::bench
