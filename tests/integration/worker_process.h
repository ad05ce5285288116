#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/integration/process.h"
#include "thinkwire/v1/worker.grpc.pb.h"

namespace thinkwire::integration {

inline constexpr char kTinyModel[] = "deploy/models/tiny-r1";

// The whole of one stream.
struct Generation {
  absl::Status status;
  std::string order;  // S started, r R a F C, repeated deltas as one; Queued left out
  std::string reasoning, answer;
  std::vector<std::int32_t> prompt_ids;
  std::vector<std::int32_t> ids;  // of all events, in order
  std::vector<float> logprobs;    // likewise
  v1::Started started;
  v1::Finished finished;
  v1::Completed completed;
};

// Reads a stream to its end; after each message `goes_on` may cancel it by returning false.
Generation Generate(
    v1::WorkerService::Stub& stub, const v1::GenerateRequest& request,
    std::optional<std::chrono::milliseconds> timeout = std::nullopt,
    const std::function<bool(const v1::WorkerGenerateResponse&)>& goes_on = nullptr);

// A thinkwire-worker on free ports, or one of a port that is known, and a client of it.
class WorkerProcess {
 public:
  // `options` beside the ports, or with a --listen in place of the port; waits until it listens,
  // and EXPECTs that it comes to that. What is run is `program` with its first arguments; empty:
  // thinkwire-worker.
  explicit WorkerProcess(const std::vector<std::string>& options, int port = 0,
                         const std::vector<std::string>& program = {});

  bool listening() const { return stub_ != nullptr; }
  int port() const { return port_; }
  int metrics_port() const { return metrics_port_; }
  Process& process() { return *process_; }
  v1::WorkerService::Stub& stub() { return *stub_; }

  // As the function of that name.
  Generation Generate(
      const v1::GenerateRequest& request,
      std::optional<std::chrono::milliseconds> timeout = std::nullopt,
      const std::function<bool(const v1::WorkerGenerateResponse&)>& goes_on = nullptr);

  // As MetricAt.
  std::optional<double> Metric(const std::string& name, const std::string& labels = "");

  // Waits until a counter is at least so much: the engine's are told after its answers. False if
  // patience ends first.
  bool WaitForCounter(const std::string& name, double least);

  // Waits until nothing is queued or running and no KV block is held; false if patience ends first.
  bool WaitUntilIdle();

 private:
  std::unique_ptr<Process> process_;
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  int port_ = 0;
  int metrics_port_ = 0;
};

// A question to the bundled model, with a seed; all else as by default.
v1::GenerateRequest Ask(const std::string& question, std::uint64_t seed);
// The same, always taking the most probable token.
v1::GenerateRequest AskGreedily(const std::string& question);

// The sample without the label `model`, which all of a worker's own metrics carry.
std::string WithoutModel(std::string sample);

// The value of a metric that 127.0.0.1:port/metrics shows without labels, or with `labels` as
// "{a=\"b\"}", but for `model`; nullopt if there is none.
std::optional<double> MetricAt(int port, const std::string& name, const std::string& labels = "");

// GET http://127.0.0.1:port/path: the body.
std::string HttpGet(int port, const std::string& path);

}  // namespace thinkwire::integration
