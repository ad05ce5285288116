#pragma once

#include <string>

#include "tests/bench/engine_bench.h"

namespace thinkwire::bench {

// What stands over the table: model, device, roofs, memory.
std::string DescribeRun(const EngineReport& report);

// The table's head, and one of its lines.
std::string TableHead();
std::string TableLine(const Figure& figure);

// Everything, in SI units, as one JSON object.
std::string ToJson(const EngineReport& report);

}  // namespace thinkwire::bench
