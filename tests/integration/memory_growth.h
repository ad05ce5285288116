#pragma once

#include <chrono>
#include <cstddef>
#include <vector>

namespace thinkwire::integration {

// What a process held at a time.
struct MemorySample {
  std::chrono::steady_clock::time_point at;
  std::size_t bytes = 0;
};

// Prints by how much it grew, from ten samples on, and EXPECTs less than 1 MB an hour of an hour:
// in less time what is learnt, and kept for use again, still grows.
void CheckGrowth(const std::vector<MemorySample>& samples);

}  // namespace thinkwire::integration
