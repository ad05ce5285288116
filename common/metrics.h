#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace prometheus {
class Exposer;
class Registry;
}  // namespace prometheus

namespace thinkwire {

// The metrics of a process, and the HTTP port that shows them under /metrics.
// Owns: the registry, and so every counter and gauge made from it; the port's threads.
// Threads: Expose once; the registry is thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  prometheus::Registry& registry() { return *registry_; }

  // Serves the metrics at `listen` ("host:port"; port 0 takes a free one).
  // Fails: UNAVAILABLE where the port cannot be had.
  absl::Status Expose(const std::string& listen);

  // The port in use; 0 before Expose.
  int port() const;

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace thinkwire
