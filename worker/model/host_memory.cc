#include "worker/model/host_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

namespace thinkwire::worker::model {
namespace {

std::int64_t MemInfoAvailable() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  std::string unit;
  std::int64_t kib = 0;
  while (file >> key >> kib) {
    if (key == "MemAvailable:") return kib * 1024;
    std::getline(file, unit);
  }
  return 0;
}

// What the control group still allows; no limit reads as "max" and gives none here.
std::int64_t ControlGroupAvailable() {
  std::ifstream limit_file("/sys/fs/cgroup/memory.max");
  std::ifstream used_file("/sys/fs/cgroup/memory.current");
  std::int64_t limit = 0;
  std::int64_t used = 0;
  if (!(limit_file >> limit) || !(used_file >> used)) {
    return std::numeric_limits<std::int64_t>::max();
  }
  return std::max<std::int64_t>(0, limit - used);
}

}  // namespace

std::int64_t AvailableHostMemory() { return std::min(MemInfoAvailable(), ControlGroupAvailable()); }

}  // namespace thinkwire::worker::model
