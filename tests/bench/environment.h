#pragma once

namespace thinkwire::bench {

// Variables that begin so set options of every command (common/options.h).
inline constexpr char kEnvironment[] = "THINKWIRE_BENCH_";

}  // namespace thinkwire::bench
