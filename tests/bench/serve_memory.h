#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace thinkwire::bench {

// One look at a process's memory.
struct MemorySample {
  double seconds = 0;  // since the load began
  double bytes = 0;
};

// The anonymous resident memory of a local process (RssAnon of /proc/PID/status); nullopt where
// there is none. Pages of mapped files, such as a checkpoint's, are left out: they come and go as
// the machine needs them.
std::optional<double> ReadMemory(std::int32_t pid);

// RssAnon in bytes, from the text of a status file.
std::optional<double> ParseMemory(const std::string& status);

// Bytes an hour of the straight line that fits the samples from `from_seconds` on best (least
// squares); nullopt for fewer than two different times.
std::optional<double> SlopePerHour(std::span<const MemorySample> samples, double from_seconds);

// The memory of some processes over time. Threads: one.
class MemoryWatch {
 public:
  struct Process {
    std::int32_t pid = 0;
    std::vector<MemorySample> samples;
  };

  explicit MemoryWatch(const std::vector<std::int32_t>& pids);

  // Looks again where `kIntervalSeconds` have passed since the last look.
  void LookAt(double seconds);

  const std::vector<Process>& processes() const { return processes_; }

  static constexpr double kIntervalSeconds = 5;

 private:
  std::vector<Process> processes_;
  double next_ = 0;
};

}  // namespace thinkwire::bench
