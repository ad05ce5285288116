#include "worker/engine/plan_builder.h"

#include <algorithm>
#include <span>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

namespace {

// Finite, as a logit that is not is the model's fault, and so low that nothing is drawn by it.
constexpr float kNever = -1e30F;

// Of the reasoning, and what keeps the think-end id from being drawn.
std::vector<step::LogitBias> MaskThinkEnd(std::vector<step::LogitBias> biases, std::int32_t id) {
  const auto at = std::ranges::lower_bound(biases, id, {}, &step::LogitBias::id);
  if (at != biases.end() && at->id == id) {
    at->bias = kNever;
  } else {
    biases.insert(at, {.id = id, .bias = kNever});
  }
  return biases;
}

step::PerPhase<std::vector<step::LogitBias>> BiasesOf(const Sequence& sequence) {
  auto biases = sequence.request().logit_bias;
  if (sequence.masks_think_end()) {
    std::vector<step::LogitBias>& reasoning = biases[step::Phase::kReasoning];
    reasoning = MaskThinkEnd(std::move(reasoning), sequence.request().sampling.think_end_id);
  }
  return biases;
}

}  // namespace

PlanBuilder::PlanBuilder(const step::Limits& limits)
    : limits_(limits),
      budget_(limits.max_num_batched_tokens),
      spare_draws_(std::max(0, limits.most_draws() - limits.max_num_seqs)) {}

bool PlanBuilder::MayTell(const Sequence& sequence) const {
  if (sequence.sampling_told()) return true;
  const std::size_t counted = sequence.counted_prompt().size() + sequence.counted_draws().size();
  const auto biases = static_cast<std::size_t>(sequence.request().sampling.num_biases());
  return plan_.counted_ids.size() + counted <= static_cast<std::size_t>(limits_.max_model_len) &&
         plan_.biases.size() + biases + (sequence.masks_think_end() ? 1 : 0) <=
             step::kMaxPlanBiases;
}

void PlanBuilder::AddRow(Sequence& sequence, std::int32_t count, std::int32_t draws) {
  CHECK(count >= 1 && count <= budget_, "a row has inputs, within the budget");
  CHECK(draws <= 1 + spare_draws_, "a row draws as often as the runner takes");
  TellRunner(sequence);
  sequence.OnTold();
  const Request& request = sequence.request();
  const bool draws_any = draws > 0;
  plan_.rows.push_back(
      {.slot = sequence.slot(),
       .first_position = sequence.computed(),
       .count = count,
       .first_id = AddInputs(sequence, count),
       .draws = draws,
       .logprob = draws_any && request.logprobs,
       .alternatives = draws_any ? request.alternatives : 0,
       .adjusted = draws_any && (request.sampling.adjusts() || sequence.masks_think_end()),
       .mask = draws_any ? AddMask(sequence) : step::kNoMask,
       .phase = sequence.draw_phase()});
  rows_.push_back({.sequence = &sequence, .draws = draws, .epoch = sequence.epoch()});
  budget_ -= count;
  spare_draws_ -= std::max(0, draws - 1);
  recomputed_tokens_ += sequence.RecomputedOf(count);
  sequence.OnSubmitted(count, draws);
}

std::int32_t PlanBuilder::AddMask(Sequence& sequence) {
  if (!sequence.plan().is_masked()) return step::kNoMask;
  const std::size_t words = step::NumMaskWords(limits_.vocab_size);
  plan_.masks.resize(plan_.masks.size() + words);
  sequence.plan().Mask(std::span(plan_.masks).last(words));
  return masked_draws_++;
}

// The row's first_id.
std::int32_t PlanBuilder::AddInputs(const Sequence& sequence, std::int32_t count) {
  if (sequence.draws_in_flight() > 0) return step::kLastDrawn;
  const auto first_id = static_cast<std::int32_t>(plan_.input_ids.size());
  const std::int32_t known = std::min(count, sequence.committed() - sequence.computed());
  const auto first = sequence.ids().begin() + sequence.computed();
  plan_.input_ids.insert(plan_.input_ids.end(), first, first + known);
  const auto proposed = sequence.proposed().begin();
  plan_.input_ids.insert(plan_.input_ids.end(), proposed, proposed + (count - known));
  return first_id;
}

void PlanBuilder::TellRunner(const Sequence& sequence) {
  for (std::int32_t i = sequence.blocks_told(); i < sequence.num_blocks(); ++i) {
    plan_.block_table_changes.push_back(
        {.slot = sequence.slot(), .index = i, .block = sequence.block(i)});
  }
  if (!sequence.sampling_told()) TellSampling(sequence);
}

void PlanBuilder::TellSampling(const Sequence& sequence) {
  std::vector<std::int32_t>& counted = plan_.counted_ids;
  const auto prompt = sequence.counted_prompt();
  const auto drawn = sequence.counted_draws();
  const auto biases = BiasesOf(sequence);
  step::SamplingParams params = sequence.request().sampling;
  for (const step::Phase phase : step::kPhases) {
    params.phases[phase].num_biases = static_cast<std::int32_t>(biases[phase].size());
  }
  plan_.sampling_changes.push_back({.slot = sequence.slot(),
                                    .params = params,
                                    .first_bias = static_cast<std::int32_t>(plan_.biases.size()),
                                    .first_counted = static_cast<std::int32_t>(counted.size()),
                                    .num_prompt = static_cast<std::int32_t>(prompt.size()),
                                    .num_drawn = static_cast<std::int32_t>(drawn.size()),
                                    .phase = sequence.draw_phase()});
  counted.insert(counted.end(), prompt.begin(), prompt.end());
  counted.insert(counted.end(), drawn.begin(), drawn.end());
  for (const auto& of_phase : biases) {
    plan_.biases.insert(plan_.biases.end(), of_phase.begin(), of_phase.end());
  }
}

step::Plan PlanBuilder::TakePlan(std::uint64_t step) {
  plan_.step = step;
  return std::move(plan_);
}

}  // namespace thinkwire::worker::engine
