#include "tests/bench/memory_watch.h"

#include <algorithm>
#include <chrono>

namespace thinkwire::bench {

MemoryWatch::MemoryWatch() : thread_([this] { Look(); }) {}

MemoryWatch::~MemoryWatch() {
  is_over_ = true;
  thread_.join();
}

void MemoryWatch::Look() {
  while (!is_over_) {
    peak_ = std::max<std::int64_t>(peak_, GpuMemoryInUse());
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace thinkwire::bench
