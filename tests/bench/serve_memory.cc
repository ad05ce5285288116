#include "tests/bench/serve_memory.h"

#include <fstream>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace thinkwire::bench {

std::optional<double> ParseMemory(const std::string& status) {
  for (absl::string_view line : absl::StrSplit(status, '\n')) {
    if (!absl::ConsumePrefix(&line, "RssAnon:") || !absl::ConsumeSuffix(&line, "kB")) continue;
    double kilobytes = 0;
    if (absl::SimpleAtod(line, &kilobytes)) return kilobytes * 1024;
  }
  return std::nullopt;
}

std::optional<double> ReadMemory(std::int32_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  return ParseMemory(std::string((std::istreambuf_iterator<char>(file)), {}));
}

std::optional<double> SlopePerHour(std::span<const MemorySample> samples, double from_seconds) {
  double count = 0;
  double sum_t = 0;
  double sum_b = 0;
  for (const MemorySample& sample : samples) {
    if (sample.seconds < from_seconds) continue;
    ++count;
    sum_t += sample.seconds;
    sum_b += sample.bytes;
  }
  if (count < 2) return std::nullopt;
  double covariance = 0;
  double variance = 0;
  for (const MemorySample& sample : samples) {
    if (sample.seconds < from_seconds) continue;
    const double t = sample.seconds - sum_t / count;
    covariance += t * (sample.bytes - sum_b / count);
    variance += t * t;
  }
  if (variance == 0) return std::nullopt;
  return 3600 * covariance / variance;
}

MemoryWatch::MemoryWatch(const std::vector<std::int32_t>& pids) {
  for (const std::int32_t pid : pids) processes_.push_back({.pid = pid, .samples = {}});
}

void MemoryWatch::LookAt(double seconds) {
  if (seconds < next_) return;
  next_ = seconds + kIntervalSeconds;
  for (Process& process : processes_) {
    const std::optional<double> bytes = ReadMemory(process.pid);
    if (bytes) process.samples.push_back({seconds, *bytes});
  }
}

}  // namespace thinkwire::bench
