#include "common/process_metrics.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <system_error>

#include "common/log.h"

namespace thinkwire {
namespace {

// Of /proc/self/stat, proc(5).
struct Stat {
  double start_ticks = 0;  // since boot
  double resident_pages = 0;
};

std::optional<Stat> ReadStat() {
  std::ifstream file("/proc/self/stat");
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  // The second field, the program's name in parentheses, may hold anything.
  const std::size_t name_end = all.rfind(") ");
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(all.substr(name_end + 2));
  const std::vector<std::string> from_third{std::istream_iterator<std::string>(fields), {}};
  if (from_third.size() < 22) return std::nullopt;
  const auto field = [&](std::size_t number) { return std::stod(from_third[number - 3]); };
  return Stat{.start_ticks = field(22), .resident_pages = field(24)};
}

// Seconds since the epoch.
std::optional<double> BootTime() {
  std::ifstream file("/proc/stat");
  for (std::string key; file >> key;) {
    if (double seconds = 0; key == "btime" && file >> seconds) return seconds;
  }
  return std::nullopt;
}

std::optional<double> OpenFileDescriptors() {
  std::error_code error;
  const std::filesystem::directory_iterator folder("/proc/self/fd", error);
  if (error) return std::nullopt;
  return static_cast<double>(std::distance(begin(folder), end(folder)) - 1);  // itself
}

prometheus::MetricFamily Family(std::string name, const char* help, prometheus::MetricType type,
                                double value) {
  prometheus::ClientMetric metric;
  (type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
  return {std::move(name), help, type, {metric}};
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  using prometheus::MetricType;
  std::vector<prometheus::MetricFamily> all;
  const auto add = [&all](const char* name, const char* help, MetricType type, double value) {
    all.push_back(Family(name, help, type, value));
  };
  // Not /proc's ticks, of which a young process has none.
  if (timespec cpu{}; clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) == 0) {
    add("process_cpu_seconds_total", "User and system CPU time", MetricType::Counter,
        static_cast<double>(cpu.tv_sec) + 1e-9 * static_cast<double>(cpu.tv_nsec));
  }
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  if (const auto stat = ReadStat()) {
    add("process_resident_memory_bytes", "Resident memory", MetricType::Gauge,
        stat->resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)));
    if (const auto boot = BootTime()) {
      add("process_start_time_seconds", "Start of the process since the epoch", MetricType::Gauge,
          *boot + stat->start_ticks / ticks);
    }
  }
  if (const auto open = OpenFileDescriptors()) {
    add("process_open_fds", "Open file descriptors", MetricType::Gauge, *open);
  }
  if (rlimit limit{}; getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    add("process_max_fds", "Limit of open file descriptors", MetricType::Gauge,
        static_cast<double>(limit.rlim_cur));
  }
  all.push_back(Family(prefix_ + "_dropped_log_records_total",
                       "Log records that could not be written", MetricType::Counter,
                       static_cast<double>(NumDroppedLogRecords())));
  all.push_back(Family(prefix_ + "_suppressed_log_records_total",
                       "Log records that were too many of their kind", MetricType::Counter,
                       static_cast<double>(NumSuppressedLogRecords())));
  return all;
}

}  // namespace thinkwire
