#include "router/answer_wishes.h"

#include <algorithm>

namespace thinkwire::router {
namespace {

std::size_t NumOutputs(const v1::GenerateRequest& request) {
  const std::int64_t outputs =
      request.has_consensus() ? request.consensus().max_samples() : request.n();
  return static_cast<std::size_t>(std::clamp<std::int64_t>(outputs, 1, kMaxOutputs));
}

// An index is a worker's word, or a client's.
template <class Outputs>
void Reset(std::int32_t index, Outputs& outputs) {
  if (index >= 0 && index < kMaxOutputs) outputs.reset(static_cast<std::size_t>(index));
}

// Which output the event has taken beyond its reasoning.
std::optional<std::int32_t> PastReasoning(const v1::GenerateResponse& event) {
  if (event.has_reasoning_finished()) return event.reasoning_finished().output_index();
  if (event.has_finished()) return event.finished().output_index();
  return std::nullopt;
}

}  // namespace

void AnswerWishes::Begin(const v1::GenerateRequest& request) {
  MutexLock lock(mu_);
  if (request.thinking().mode() == v1::THINKING_MODE_OFF) return;
  for (std::size_t i = 0; i < NumOutputs(request); ++i) reasoning_.set(i);
  for (const v1::OutputState& output : request.resume().outputs()) {
    const bool over = output.reasoning_finished() || output.finished();
    if (over) Reset(output.output_index(), reasoning_);
  }
}

void AnswerWishes::Note(const v1::GenerateResponse& event) {
  const std::optional<std::int32_t> over = PastReasoning(event);
  const bool never = event.has_started() && event.started().first_phase() == v1::PHASE_ANSWER;
  if (!over && !never) return;
  MutexLock lock(mu_);
  if (never) reasoning_.reset();
  if (over) Reset(*over, reasoning_);
}

std::int32_t AnswerWishes::Ask(std::optional<std::int32_t> output) {
  MutexLock lock(mu_);
  const Outputs before = asked_ & reasoning_;
  output ? asked_.set(static_cast<std::size_t>(*output)) : asked_.set();
  return static_cast<std::int32_t>((asked_ & reasoning_).count() - before.count());
}

std::vector<std::optional<std::int32_t>> AnswerWishes::Open() const {
  MutexLock lock(mu_);
  const Outputs open = asked_ & reasoning_;
  if (open.any() && asked_.all()) return {std::nullopt};
  std::vector<std::optional<std::int32_t>> outputs;
  for (std::size_t i = 0; i < open.size(); ++i) {
    if (open[i]) outputs.emplace_back(static_cast<std::int32_t>(i));
  }
  return outputs;
}

}  // namespace thinkwire::router
