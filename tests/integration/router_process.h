#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/integration/process.h"
#include "thinkwire/v1/reasoning.grpc.pb.h"

namespace thinkwire::integration {

// A thinkwire-router on free ports for one variant, and a client of it.
class RouterProcess {
 public:
  // `options` beside file and ports; waits until it listens, and EXPECTs that it comes to that.
  RouterProcess(const std::string& variant, const std::vector<std::string>& worker_addresses,
                const std::vector<std::string>& options = {});
  RouterProcess(const std::string& variant, const std::string& worker_address,
                const std::vector<std::string>& options = {})
      : RouterProcess(variant, std::vector<std::string>{worker_address}, options) {}

  ~RouterProcess();
  RouterProcess(const RouterProcess&) = delete;
  RouterProcess& operator=(const RouterProcess&) = delete;

  // Its configuration says this from now on.
  void Configure(const std::string& yaml) const;

  Process& process() { return *process_; }
  v1::ReasoningService::Stub& stub() { return *stub_; }
  std::string address() const;  // "localhost:port"
  int port() const { return port_; }
  int metrics_port() const { return metrics_port_; }

  // Waits until no Generate call is there any more; false if patience ends first.
  bool WaitUntilIdle() const;

  // As MetricAt.
  std::optional<double> Metric(const std::string& name, const std::string& labels = "") const;

 private:
  std::string config_;  // the file
  std::unique_ptr<Process> process_;
  std::unique_ptr<v1::ReasoningService::Stub> stub_;
  int port_ = 0;
  int metrics_port_ = 0;
};

}  // namespace thinkwire::integration
