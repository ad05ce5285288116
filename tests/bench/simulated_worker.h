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

// What a worker is. As it stands it is a GPU, as prefill_simulation.h has it.
struct SimulatedSpeed {
  std::int32_t places = 32;
  double step_s = 5.3e-3;    // of each step
  double input_s = 26.4e-6;  // of each input in it
  double tick_s = 0.05;      // of the simulation: some steps
  double noise = 0;          // deviation of its speed's logarithm, as others use the machine too
  double StepSeconds(double inputs) const { return step_s + inputs * input_s; }
};

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
  std::size_t client = 0;  // of a closed loop
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
  SimulatedSpeed speed{};
  std::deque<std::shared_ptr<SimulatedRequest>> queue{};
  std::vector<std::shared_ptr<SimulatedRequest>> running{};
  double haste = 1;  // times as fast as it is by itself, for a while
  double reported_s = -std::numeric_limits<double>::infinity();

  // Gives free places to those who wait, first come, first served; `on_begin` is told of each.
  void Admit(double now_s, const std::function<void()>& on_begin) {
    while (!queue.empty() && std::ssize(running) < speed.places) {
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
        haste * speed.tick_s / speed.StepSeconds(drawing + std::min(prompts, kStepInputs));
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
