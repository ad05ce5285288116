#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "router/admission/dispatch_queue.h"
#include "tests/bench/output_lengths.h"

namespace thinkwire::bench {

inline constexpr std::int32_t kSimulatedPlaces = 32;
inline constexpr double kSimulatedTick = 0.05;  // seconds
inline constexpr double kSimulatedInputSeconds = 26.4e-6;

// Of a worker, as prefill_simulation.h has it.
constexpr double SimulatedStepSeconds(double inputs) {
  return 5.3e-3 + inputs * kSimulatedInputSeconds;
}

// One request on its way, and one that waits in the router's queue: `dispatch` is asked when its
// turn may have come.
struct SimulatedRequest final : public router::admission::DispatchQueue::Waiter,
                                public std::enable_shared_from_this<SimulatedRequest> {
  using Place = router::admission::DispatchQueue::Place;

  bool Dispatch() override { return dispatch(*this); }
  void TellPlace(const Place& /*place*/) override {}
  void TellSilence() override {}
  void SendAway() override {}

  double made() const { return lengths.reasoning + lengths.answer - output_left; }

  std::function<bool(SimulatedRequest&)> dispatch{};
  std::size_t tenant = 0;
  DrawnLengths lengths{};
  double arrival_s = 0;
  double deadline_s = 0;  // of the clock
  router::admission::DispatchQueue::Ticket ticket{};
  router::admission::DispatchQueue::Running running{};
  bool waits = false;  // in the router
  bool begun = false;  // at its worker
  double begun_s = 0;
  double first_s = 0;      // its first token
  double prompt_left = 0;  // tokens
  double output_left = 0;
};

// A worker's places, and who waits for one.
struct SimulatedWorker {
  std::deque<std::shared_ptr<SimulatedRequest>> queue{};
  std::vector<std::shared_ptr<SimulatedRequest>> running{};
  double reported_s = -std::numeric_limits<double>::infinity();

  // Gives free places to those who wait, first come, first served; `on_begin` is told of each.
  void Admit(double now_s, const std::function<void()>& on_begin) {
    while (!queue.empty() && std::ssize(running) < kSimulatedPlaces) {
      running.push_back(std::move(queue.front()));
      queue.pop_front();
      running.back()->begun = true;
      running.back()->begun_s = now_s;
      on_begin();
    }
  }

  // Those that have a place go on for a tick, in steps of at most 512 inputs of prompts, which are
  // read in turn.
  void Advance(double now_s) {
    constexpr double kStepInputs = 512;
    double prompts = 0;
    double drawing = 0;
    for (const auto& request : running) {
      prompts += request->prompt_left;
      drawing += request->prompt_left > 0 ? 0 : 1;
    }
    const double steps =
        kSimulatedTick / SimulatedStepSeconds(drawing + std::min(prompts, kStepInputs));
    double inputs = steps * kStepInputs;
    for (const auto& request : running) {
      if (request->prompt_left <= 0) {
        request->output_left -= std::min(steps, request->output_left);
        continue;
      }
      const double read = std::min(inputs, request->prompt_left);
      request->prompt_left -= read;
      inputs -= read;
      if (request->prompt_left <= 0) request->first_s = now_s;
    }
  }
};

}  // namespace thinkwire::bench
