#include "tests/router/decision/fleet_simulation.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "tests/router/decision/family.h"

namespace thinkwire::router::decision {
namespace {

constexpr double kStepSeconds = 0.05;

}  // namespace

FleetSimulation::FleetSimulation(Options options)
    : options_(std::move(options)),
      policy_(options_.variants),
      experience_(options_.variants),
      places_(options_.workers.size()) {
  for (const SimulatedWorker& worker : options_.workers) {
    WorkerView& view = views_.emplace_back(IdleWorker(worker.variant));
    view.status->max_num_seqs = worker.places;
    view.seconds_per_token = 0;
    view.prompt_tokens_per_s = 0;
  }
}

void FleetSimulation::Arrive(const SimulatedRequest& request) {
  Outcome outcome{.arrival_s = now_s_, .task = request.query.task.value_or(Task::kGeneral)};
  const auto decision =
      policy_.Decide(request.query, {.workers = views_, .variants = experience_.views()});
  if (!decision.ok()) {
    outcome.refused = true;
    outcomes_.push_back(outcome);
    return;
  }
  outcome.variant = decision->variant;
  outcome.worker = decision->worker;
  WorkerView& view = views_[decision->worker];
  ++view.leased;
  ++view.given;
  places_[decision->worker].queue.push_back(
      {.request = request,
       .outcome = outcome,
       .left = request.reasoning_tokens + request.answer_tokens});
}

void FleetSimulation::Advance(double seconds) {
  for (const double end_s = now_s_ + seconds; now_s_ < end_s;) Step();
}

void FleetSimulation::Finish() {
  const auto is_busy = [](const Place& place) {
    return !place.queue.empty() || !place.running.empty();
  };
  while (std::ranges::any_of(places_, is_busy)) Step();
}

std::vector<std::int64_t> FleetSimulation::given() const {
  std::vector<std::int64_t> given;
  for (const WorkerView& view : views_) given.push_back(view.given);
  return given;
}

void FleetSimulation::Step() {
  now_s_ += kStepSeconds;
  for (std::size_t i = 0; i < places_.size(); ++i) StepWorker(i);
}

void FleetSimulation::StepWorker(std::size_t index) {
  const SimulatedWorker& worker = options_.workers[index];
  Place& place = places_[index];
  while (!place.queue.empty() && std::ssize(place.running) < worker.places) {
    place.running.push_back(std::move(place.queue.front()));
    place.queue.pop_front();
    place.running.back().begun_s = now_s_;
  }
  const double busy = static_cast<double>(place.running.size()) / worker.places;
  const double tokens = kStepSeconds / (worker.seconds_per_token * (1 + busy));
  for (Stream& stream : place.running) stream.left -= tokens;
  for (Stream& stream : place.running) {
    if (stream.left <= 0) End(index, stream);
  }
  std::erase_if(place.running, [](const Stream& stream) { return stream.left <= 0; });
  Report(index);
}

void FleetSimulation::Report(std::size_t index) {
  Place& place = places_[index];
  WorkerView& view = views_[index];
  view.silent_s = now_s_ - place.reported_s;
  if (view.silent_s < options_.report_s) return;
  place.reported_s = now_s_;
  view.silent_s = 0;
  view.status->queued = static_cast<std::int32_t>(place.queue.size());
  view.status->running = static_cast<std::int32_t>(place.running.size());
}

void FleetSimulation::End(std::size_t index, Stream& stream) {
  Outcome& outcome = stream.outcome;
  outcome.total_s = now_s_ - outcome.arrival_s;
  const std::optional<double> deadline_s = stream.request.query.deadline_s;
  outcome.in_time = !deadline_s || outcome.total_s <= *deadline_s;
  outcomes_.push_back(outcome);
  --views_[index].leased;
  if (!options_.learns) return;
  const double tokens = stream.request.reasoning_tokens + stream.request.answer_tokens;
  LearnPace((now_s_ - stream.begun_s) / tokens, 0, views_[index]);
  experience_.Learn({.variant = outcome.variant,
                     .task = outcome.task,
                     .reasoning_tokens = stream.request.reasoning_tokens,
                     .answer_tokens = stream.request.answer_tokens});
}

}  // namespace thinkwire::router::decision
