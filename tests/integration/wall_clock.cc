#include "tests/integration/wall_clock.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>

#include "common/check.h"
#include "tests/integration/programs.h"

namespace thinkwire::integration {

WallClock::WallClock() : path_(testing::TempDir() + "wall-clock-" + std::to_string(getpid())) {
  const int file = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(file >= 0 && ftruncate(file, sizeof *ahead_) == 0, "a file to share");
  void* mapped = mmap(nullptr, sizeof *ahead_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  CHECK(mapped != MAP_FAILED, "a map of the file");
  close(file);
  ahead_ = static_cast<std::atomic<std::int64_t>*>(mapped);
  setenv("THINKWIRE_WALL_CLOCK_FILE", path_.c_str(), 1);
  setenv("LD_PRELOAD", kWallClockPreload, 1);
}

WallClock::~WallClock() {
  unsetenv("LD_PRELOAD");
  unsetenv("THINKWIRE_WALL_CLOCK_FILE");
  munmap(ahead_, sizeof *ahead_);
  std::filesystem::remove(path_);
}

void WallClock::Jump(std::chrono::seconds by) { *ahead_ += by.count(); }

}  // namespace thinkwire::integration
