#include "tests/worker/model/step_driver.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::model {

step::SamplingParams Greedy() {
  step::SamplingParams params;
  for (step::PhaseSampling& phase : params.phases) phase.temperature = 0;
  return params;
}

void StepDriver::Begin(std::int32_t slot, const step::SamplingParams& params,
                       const std::vector<step::LogitBias>& biases) {
  step::SamplingChange change{.slot = slot, .params = params};
  change.first_bias = static_cast<std::int32_t>(biases_.size());
  change.params.phases[step::Phase::kReasoning].num_biases =
      static_cast<std::int32_t>(biases.size());
  biases_.insert(biases_.end(), biases.begin(), biases.end());
  slots_[slot] = {.adjusted = change.params.adjusts()};
  changes_.push_back(change);
}

void StepDriver::Submit(const std::vector<Feed>& feeds) {
  step::Plan plan;
  plan.step = ++step_;
  plan.sampling_changes = std::exchange(changes_, {});
  plan.biases = std::exchange(biases_, {});
  const step::Limits& limits = runner_.limits();
  std::map<std::int32_t, std::int32_t> plan_alternatives;
  for (const Feed& feed : feeds) {
    Slot& slot = slots_.at(feed.slot);
    step::Row row;
    row.slot = feed.slot;
    row.first_position = slot.length;
    row.count = std::max<std::int32_t>(1, static_cast<std::int32_t>(feed.ids.size()));
    row.first_id =
        feed.ids.empty() ? step::kLastDrawn : static_cast<std::int32_t>(plan.input_ids.size());
    row.draws = feed.draws;
    row.logprob = feed.draws > 0;
    row.phase = feed.phase;
    row.adjusted = feed.draws > 0 && slot.adjusted;
    row.alternatives = feed.alternatives;
    plan_alternatives[feed.slot] = feed.alternatives;
    plan.rows.push_back(row);
    plan.input_ids.insert(plan.input_ids.end(), feed.ids.begin(), feed.ids.end());
    slot.length += row.count;
    for (; slot.num_blocks * limits.block_tokens < slot.length; ++slot.num_blocks) {
      const std::int32_t block = limits.num_blocks - 1 - next_block_++;
      CHECK(block >= 0, "the test needs more KV blocks");
      plan.block_table_changes.push_back({feed.slot, slot.num_blocks, block});
    }
  }
  alternatives_.push_back(std::move(plan_alternatives));
  runner_.Submit(std::move(plan));
}

std::map<std::int32_t, std::vector<Drawn>> StepDriver::CollectDraws() {
  const step::Result result = runner_.Collect();
  std::map<std::int32_t, std::vector<Drawn>> drawn;
  for (const step::RowResult& row : result.rows) {
    CHECK(!row.not_finite, "finite tokens");
    const std::int32_t alternatives = alternatives_.front().at(row.slot);
    for (std::int32_t i = 0; i < row.num_ids; ++i) {
      const auto index = static_cast<std::size_t>(row.first_id + i);
      const auto first = result.alternatives.begin() + row.first_alternative + i * alternatives;
      drawn[row.slot].push_back(
          {result.ids.at(index), result.logprobs.at(index), {first, first + alternatives}});
    }
  }
  alternatives_.pop_front();
  return drawn;
}

std::map<std::int32_t, Drawn> StepDriver::Collect() {
  std::map<std::int32_t, Drawn> drawn;
  for (auto& [slot, draws] : CollectDraws()) {
    CHECK(draws.size() == 1, "one token a row");
    drawn[slot] = draws.front();
  }
  return drawn;
}

std::map<std::int32_t, Drawn> StepDriver::Step(const std::vector<Feed>& feeds) {
  Submit(feeds);
  return Collect();
}

std::vector<Drawn> StepDriver::Generate(std::int32_t slot, const std::vector<std::int32_t>& prompt,
                                        std::int32_t count, std::size_t chunk, int depth) {
  std::vector<Feed> steps;
  for (std::size_t at = 0; at < prompt.size(); at += chunk) {
    const std::size_t end = std::min(prompt.size(), at + chunk);
    const auto begin = prompt.begin();
    Feed feed{slot,
              {begin + static_cast<std::ptrdiff_t>(at), begin + static_cast<std::ptrdiff_t>(end)}};
    feed.draws = end == prompt.size() ? 1 : 0;
    steps.push_back(feed);
  }
  for (std::int32_t i = 1; i < count; ++i) steps.push_back({slot, {}});
  std::vector<Drawn> tokens;
  std::deque<bool> draws;
  const auto collect = [&] {
    const auto drawn = Collect();
    CHECK(drawn.size() == (draws.front() ? 1U : 0U), "only rows that ask draw");
    if (draws.front()) tokens.push_back(drawn.at(slot));
    draws.pop_front();
  };
  for (const Feed& step : steps) {
    if (draws.size() == static_cast<std::size_t>(depth)) collect();
    Submit({step});
    draws.push_back(step.draws > 0);
  }
  while (!draws.empty()) collect();
  return tokens;
}

}  // namespace thinkwire::worker::model
