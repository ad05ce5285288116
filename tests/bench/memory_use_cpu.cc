#include "tests/bench/memory_watch.h"

namespace thinkwire::bench {

std::int64_t GpuMemoryInUse() { return 0; }

}  // namespace thinkwire::bench
