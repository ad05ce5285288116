#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <string>
#include <vector>

namespace thinkwire {

// What Prometheus expects of any process, read from the kernel at each scrape:
// process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, process_max_fds,
// process_start_time_seconds. And `prefix`_dropped_log_records_total. Threads: any.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  explicit ProcessMetrics(std::string prefix) : prefix_(std::move(prefix)) {}

  // A figure that the kernel does not give is left out.
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const std::string prefix_;
};

}  // namespace thinkwire
