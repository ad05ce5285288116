#pragma once

#include <map>
#include <memory>
#include <string>

namespace prometheus {
class Registry;
}  // namespace prometheus

namespace thinkwire {

class ProcessMetrics;

// The metrics of a process, its ProcessMetrics among them.
// Owns: the registry, and so every counter and gauge made from it. Threads: any.
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

  // All of them as they are now, in Prometheus's text format.
  std::string Page() const;

 private:
  const std::string prefix_;
  const std::unique_ptr<prometheus::Registry> registry_;
  const std::unique_ptr<const ProcessMetrics> process_;
};

}  // namespace thinkwire
