#include "tests/integration/router_process.h"

#include <grpcpp/channel.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/rpc/channel.h"
#include "tests/integration/programs.h"
#include "tests/integration/worker_process.h"

namespace thinkwire::integration {

RouterProcess::RouterProcess(const std::string& variant,
                             const std::vector<std::string>& worker_addresses,
                             const std::vector<std::string>& options) {
  static std::atomic<int> number = 0;  // several in one test
  config_ = absl::StrCat(testing::TempDir(), "router-", getpid(), "-", ++number, ".yaml");
  Configure(absl::StrCat("variants:\n  - name: ", variant, "\n    workers: [\"",
                         absl::StrJoin(worker_addresses, "\", \""), "\"]\n"));
  std::vector<std::string> arguments = {kRouter, "--config", config_, "--listen=127.0.0.1:0",
                                        "--metrics_listen=127.0.0.1:0"};
  arguments.insert(arguments.end(), options.begin(), options.end());
  process_ = std::make_unique<Process>(arguments);
  const auto line = process_->WaitForErrorLine("\"listening\"");
  EXPECT_TRUE(line.has_value()) << process_->error();
  if (!line) return;
  const auto record = nlohmann::json::parse(*line);
  port_ = record["port"];
  metrics_port_ = record["metrics_port"];
  stub_ = v1::ReasoningService::NewStub(rpc::MakeChannel(address()));
}

RouterProcess::~RouterProcess() { std::filesystem::remove(config_); }

void RouterProcess::Configure(const std::string& yaml) const {
  std::ofstream(config_ + ".new") << yaml;
  std::filesystem::rename(config_ + ".new", config_);
}

std::string RouterProcess::address() const { return absl::StrCat("localhost:", port_); }

bool RouterProcess::WaitUntilIdle() const {
  const auto give_up = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < give_up) {
    if (Metric("thinkwire_router_running_requests") == 0.0) return true;
    std::this_thread::yield();
  }
  return false;
}

std::optional<double> RouterProcess::Metric(const std::string& name,
                                            const std::string& labels) const {
  return MetricAt(metrics_port_, name, labels);
}

}  // namespace thinkwire::integration
