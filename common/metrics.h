#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"

namespace prometheus {
class Exposer;
class Registry;
}  // namespace prometheus

namespace thinkwire {

class ProcessMetrics;

// The metrics of a process, its ProcessMetrics among them, and the HTTP port that shows them under
// /metrics.
// Owns: the registry, and so every counter and gauge made from it; the port's threads.
// Threads: Expose once; the registry is thread-safe.
class Metrics {
 public:
  // All of our own metrics begin with `prefix`, "thinkwire_worker" say.
  explicit Metrics(const std::string& prefix);
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  const std::string& prefix() const { return prefix_; }
  prometheus::Registry& registry() { return *registry_; }

  // Adds `prefix`_build_info: 1, labelled with the version and `labels`.
  void AddBuildInfo(std::map<std::string, std::string> labels);

  // Serves the metrics at `listen` ("host:port"; port 0 takes a free one).
  // Fails: UNAVAILABLE where the port cannot be had.
  absl::Status Expose(const std::string& listen);

  // The port in use; 0 before Expose.
  int port() const;

 private:
  const std::string prefix_;
  const std::shared_ptr<prometheus::Registry> registry_;
  const std::shared_ptr<ProcessMetrics> process_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace thinkwire
