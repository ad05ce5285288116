#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <random>
#include <vector>

#include "router/decision/experience.h"
#include "router/decision/policy.h"
#include "router/decision/score_policy.h"
#include "router/variant_config.h"

namespace thinkwire::router::decision {

// A fleet under a policy, hours in seconds: requests come at random, queue and run at workers whose
// steps take longer the more sequences they hold, and end after lengths that the policy does not
// know. Workers tell of themselves every `report_s`; the router's own leases are always true, as
// the pool's are. Equal seeds give equal runs.
struct SimulatedWorker {
  std::size_t variant = 0;
  double seconds_per_token = 0.02;  // of one stream alone
  std::int32_t places = 16;
};

struct SimulatedRequest {
  Query query{};
  double reasoning_tokens = 0;
  double answer_tokens = 300;
};

struct Outcome {
  double arrival_s = 0;
  double total_s = 0;
  std::size_t variant = 0;
  std::size_t worker = 0;
  Task task = Task::kGeneral;
  bool refused = false;
  bool in_time = false;  // for its deadline; true where it has none
};

class FleetSimulation {
 public:
  struct Options {
    std::vector<VariantConfig> variants{};
    std::vector<SimulatedWorker> workers{};
    double report_s = 0.1;
    bool learns = true;
  };
  explicit FleetSimulation(Options options);

  // One arrives now.
  void Arrive(const SimulatedRequest& request);
  void Advance(double seconds);
  // Until nobody waits or runs.
  void Finish();

  double now_s() const { return now_s_; }
  // Of requests that have ended, in the order of their arrival as far as that goes.
  const std::vector<Outcome>& outcomes() const { return outcomes_; }
  std::vector<std::int64_t> given() const;

 private:
  struct Stream {
    SimulatedRequest request;
    Outcome outcome;
    double begun_s = 0;
    double left = 0;  // tokens
  };
  struct Place {
    std::deque<Stream> queue;
    std::vector<Stream> running;
    double reported_s = 0;
  };

  void Step();
  void StepWorker(std::size_t index);
  void Report(std::size_t index);
  void End(std::size_t index, Stream& stream);

  const Options options_;
  const ScorePolicy policy_;
  Experience experience_;
  std::vector<WorkerView> views_;
  std::vector<Place> places_;
  std::vector<Outcome> outcomes_;
  double now_s_ = 0;
};

}  // namespace thinkwire::router::decision
