#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/integration/process.h"

namespace thinkwire::integration {

// A thinkwire-router on free ports for one variant.
class RouterProcess {
 public:
  // `options` beside the configuration and the ports; waits until it listens, and EXPECTs that it
  // comes to that.
  RouterProcess(const std::string& variant, const std::string& worker_address,
                const std::vector<std::string>& options = {});

  Process& process() { return *process_; }
  std::string address() const;
  // The text of its /metrics.
  std::string metrics() const;

 private:
  std::unique_ptr<Process> process_;
  int port_ = 0;
  int metrics_port_ = 0;
};

}  // namespace thinkwire::integration
