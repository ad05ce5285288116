#include "tests/fakes/fake_runner.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace thinkwire::worker::engine {
namespace {

constexpr std::int32_t kUnwritten = -2;

// splitmix64's finaliser.
std::uint64_t Mix(std::uint64_t hash, std::uint64_t value) {
  hash = (hash ^ value) + 0x9e3779b97f4a7c15ULL;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  return hash ^ (hash >> 31);
}

bool Holds(std::span<const step::MaskWord> mask, std::int32_t id) {
  return (mask[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0;
}

}  // namespace

FakeModel::Draw FakeModel::Next(std::span<const std::int32_t> ids,
                                const step::SamplingParams& params,
                                std::span<const step::LogitBias> biases, step::Phase phase,
                                const Counted& counted) const {
  const step::PhaseSampling& sampling = params.phases[phase];
  std::uint64_t hash = Mix(params.seed, params.output_index);
  hash = Mix(hash, std::bit_cast<std::uint32_t>(sampling.temperature));
  hash = Mix(hash, std::bit_cast<std::uint32_t>(sampling.top_p));
  hash = Mix(hash, std::bit_cast<std::uint32_t>(sampling.min_p));
  hash = Mix(hash, static_cast<std::uint32_t>(sampling.top_k));
  hash = Mix(hash, std::bit_cast<std::uint32_t>(sampling.repetition_penalty));
  hash = Mix(hash, std::bit_cast<std::uint32_t>(sampling.presence_penalty));
  hash = Mix(hash, std::bit_cast<std::uint32_t>(sampling.frequency_penalty));
  for (const step::LogitBias& bias : biases) {
    hash = Mix(Mix(hash, static_cast<std::uint32_t>(bias.id)),
               std::bit_cast<std::uint32_t>(bias.bias));
  }
  for (const std::int32_t id : counted.prompt) hash = Mix(hash, static_cast<std::uint32_t>(id));
  for (const auto& [id, times] : counted.drawn) {
    hash = Mix(Mix(hash, static_cast<std::uint32_t>(id)), static_cast<std::uint32_t>(times));
  }
  for (const std::int32_t id : ids) hash = Mix(hash, static_cast<std::uint32_t>(id));
  const auto plain = static_cast<std::uint32_t>(vocab_size_ - kFirstPlain);
  Draw draw{.id = kFirstPlain + static_cast<std::int32_t>(hash % plain),
            .logprob = -static_cast<float>((hash >> 40) % 1000) / 100};
  const std::pair place{params.seed, static_cast<std::int32_t>(ids.size())};
  if (const auto scripted = script_.find(place); scripted != script_.end()) {
    draw.id = scripted->second;
  }
  const std::tuple own{params.seed, params.output_index, place.second};
  if (const auto scripted = output_script_.find(own); scripted != output_script_.end()) {
    draw.id = scripted->second;
  }
  for (std::int32_t i = 0; i < step::kMaxAlternatives; ++i) {
    hash = Mix(hash, static_cast<std::uint32_t>(i));
    draw.alternatives.push_back({static_cast<std::int32_t>(hash % plain), -static_cast<float>(i)});
  }
  draw.not_finite = not_finite_.contains(place);
  return draw;
}

FakeRunner::FakeRunner(const step::Limits& limits, FakeModel model, When when)
    : limits_(limits),
      model_(std::move(model)),
      when_(when),
      slots_(static_cast<std::size_t>(limits.max_num_seqs)),
      store_(static_cast<std::size_t>(limits.num_blocks) *
                 static_cast<std::size_t>(limits.block_tokens),
             kUnwritten) {}

void FakeRunner::Submit(step::Plan plan) {
  const std::size_t in_flight = plans_in_flight_.size() + results_in_flight_.size();
  CHECK(in_flight < static_cast<std::size_t>(limits_.max_in_flight), "a plan too many in flight");
  CheckShape(plan);
  last_step_ = plan.step;
  {
    MutexLock lock(mu_);
    history_.push_back(plan);
  }
  if (when_ == When::kOnSubmit) {
    results_in_flight_.push_back(Compute(plan));
  } else {
    plans_in_flight_.push_back(std::move(plan));
  }
}

step::Result FakeRunner::Collect() {
  CHECK(!plans_in_flight_.empty() || !results_in_flight_.empty(), "nothing is in flight");
  {
    MutexLock lock(mu_);
    while (closed_ && let_through_ == 0) {
      blocked_ = true;
      changed_.NotifyAll();
      changed_.Wait(mu_);
    }
    blocked_ = false;
    if (closed_) --let_through_;
  }
  if (when_ == When::kOnCollect) {
    step::Result result = Compute(plans_in_flight_.front());
    plans_in_flight_.pop_front();
    return result;
  }
  step::Result result = std::move(results_in_flight_.front());
  results_in_flight_.pop_front();
  return result;
}

std::vector<step::RankBeat> FakeRunner::beats() const {
  return std::vector<step::RankBeat>(2, {.step = submitted(), .layer = 1});
}

void FakeRunner::CloseGate() {
  MutexLock lock(mu_);
  closed_ = true;
  let_through_ = 0;
}

void FakeRunner::OpenGate() {
  MutexLock lock(mu_);
  closed_ = false;
  changed_.NotifyAll();
}

void FakeRunner::LetThrough(int steps) {
  MutexLock lock(mu_);
  let_through_ += steps;
  blocked_ = false;
  changed_.NotifyAll();
}

void FakeRunner::WaitUntilBlocked() {
  MutexLock lock(mu_);
  while (!blocked_) changed_.Wait(mu_);
}

std::uint64_t FakeRunner::submitted() const {
  MutexLock lock(mu_);
  return history_.size();
}

std::vector<step::Plan> FakeRunner::plans() const {
  MutexLock lock(mu_);
  return history_;
}

void FakeRunner::CheckShape(const step::Plan& plan) const {
  CHECK(plan.step == last_step_ + 1, "steps ascend by 1 from 1");
  CHECK(!plan.rows.empty(), "a plan holds a row");
  std::int32_t inputs = 0;
  std::int32_t draws = 0;
  std::int32_t listed = 0;
  std::int32_t masked = 0;
  std::set<std::int32_t> slots;
  for (const step::Row& row : plan.rows) {
    CHECK(row.slot >= 0 && row.slot < limits_.max_num_seqs, "slot out of range");
    CHECK(slots.insert(row.slot).second, "a slot is once in a plan");
    CHECK(row.count >= 1 && row.first_position >= 0, "a row has inputs");
    CHECK(row.first_position + row.count <= limits_.max_model_len - 1, "beyond the context");
    CHECK(row.draws >= 0 && row.draws <= row.count, "a draw follows an input");
    CHECK(row.draws <= 1 || !row.adjusted, "what counts depends on the draws before");
    CHECK(!row.logprob || row.draws > 0, "a log probability of nothing drawn");
    CHECK(row.mask == step::kNoMask || (row.draws == 1 && row.mask == masked++),
          "each mask is one row's, in their order");
    CHECK(row.alternatives >= 0 && row.alternatives <= (row.logprob ? step::kMaxAlternatives : 0),
          "alternatives go with a log probability");
    inputs += row.count;
    draws += row.draws;
    if (row.first_id == step::kLastDrawn) {
      CHECK(row.count == 1, "one last drawn id");
      continue;
    }
    CHECK(row.first_id == listed, "each listed id is the input of one row");
    listed += row.count;
  }
  CHECK(listed == static_cast<std::int32_t>(plan.input_ids.size()), "ids without a row");
  CHECK(inputs <= limits_.max_num_batched_tokens, "over the token budget");
  CHECK(draws <= limits_.most_draws(), "more draws than the runner takes");
  for (const std::int32_t id : plan.input_ids) {
    CHECK(id >= 0 && id < limits_.vocab_size, "id out of range");
  }
  CHECK(plan.masks.size() ==
            static_cast<std::size_t>(masked) * step::NumMaskWords(limits_.vocab_size),
        "masks without a row");
  CHECK(plan.counted_ids.size() <= static_cast<std::size_t>(limits_.max_model_len),
        "more counted ids than a plan holds");
  CHECK(plan.biases.size() <= step::kMaxPlanBiases, "more logit biases than a plan holds");
}

step::Result FakeRunner::Compute(const step::Plan& plan) {
  std::set<std::int32_t> restarted;
  ApplyChanges(plan, restarted);
  // What comes before a row was there before this step, whatever its neighbours write.
  std::vector<std::vector<std::int32_t>> texts;
  for (const step::Row& row : plan.rows)
    texts.push_back(ReadCells(row.slot, 0, row.first_position));
  std::map<std::int32_t, std::int32_t> writer;
  for (const step::Row& row : plan.rows) {
    PlaceRow(row, restarted.contains(row.slot));
    WriteRow(plan, row, writer);
  }
  step::Result result;
  result.step = plan.step;
  for (std::size_t i = 0; i < plan.rows.size(); ++i) {
    const step::Row& row = plan.rows[i];
    if (row.draws == 0) continue;
    const std::int32_t end = row.first_position + row.count;
    const std::vector<std::int32_t> inputs = ReadCells(row.slot, row.first_position, end);
    texts[i].insert(texts[i].end(), inputs.begin(), inputs.end());
    DrawRow(row, texts[i], MaskOf(plan, row), result);
  }
  return result;
}

void FakeRunner::PlaceRow(const step::Row& row, bool restarted) {
  Slot& slot = slots_[static_cast<std::size_t>(row.slot)];
  const bool whole_blocks = row.first_position % limits_.block_tokens == 0;
  // Told anew are parameters also where a sequence goes on and what penalties count has changed.
  const bool restarts = restarted && row.first_position != slot.next_position;
  if (restarts && !may_go_back_) CHECK(whole_blocks, "full blocks are taken over");
  if (restarts && whole_blocks) slot.next_position = row.first_position;
  CHECK(slot.has_params, "a slot without sampling parameters");
  CHECK(row.first_position == slot.next_position ||
            (may_go_back_ && row.first_position < slot.next_position),
        "positions are consecutive");
  slot.next_position = row.first_position + row.count;
}

void FakeRunner::ApplyChanges(const step::Plan& plan, std::set<std::int32_t>& restarted) {
  for (const step::BlockTableChange& change : plan.block_table_changes) {
    CHECK(change.slot >= 0 && change.slot < limits_.max_num_seqs, "slot out of range");
    CHECK(change.block >= 0 && change.block < limits_.num_blocks, "block out of range");
    CHECK(change.index >= 0 && change.index * limits_.block_tokens < limits_.max_model_len,
          "table index out of range");
    std::vector<std::int32_t>& table = slots_[static_cast<std::size_t>(change.slot)].table;
    const auto index = static_cast<std::size_t>(change.index);
    if (table.size() <= index) table.resize(index + 1, -1);
    table[index] = change.block;
  }
  for (const step::SamplingChange& change : plan.sampling_changes) {
    CHECK(change.slot >= 0 && change.slot < limits_.max_num_seqs, "slot out of range");
    Slot& slot = slots_[static_cast<std::size_t>(change.slot)];
    slot.params = change.params;
    slot.has_params = true;
    auto bias = plan.biases.begin() + change.first_bias;
    for (const step::Phase phase : step::kPhases) {
      const auto end = bias + change.params.phases[phase].num_biases;
      slot.biases[phase].assign(bias, end);
      bias = end;
    }
    BeginCounts(plan, change, slot);
    restarted.insert(change.slot);
  }
}

void FakeRunner::BeginCounts(const step::Plan& plan, const step::SamplingChange& change,
                             Slot& slot) const {
  const auto ids =
      std::span(plan.counted_ids).subspan(static_cast<std::size_t>(change.first_counted));
  const auto prompt = ids.first(static_cast<std::size_t>(change.num_prompt));
  slot.counted = {{prompt.begin(), prompt.end()}, {}};
  slot.counted_phase = change.phase;
  for (std::int32_t i = 0; i < change.num_drawn; ++i) {
    ++slot.counted.drawn[ids[static_cast<std::size_t>(change.num_prompt + i)]];
  }
}

std::vector<std::int32_t> FakeRunner::RowInputs(const step::Plan& plan,
                                                const step::Row& row) const {
  if (row.first_id != step::kLastDrawn) {
    const auto first = plan.input_ids.begin() + row.first_id;
    return {first, first + row.count};
  }
  const Slot& slot = slots_[static_cast<std::size_t>(row.slot)];
  CHECK(slot.last_id_position == row.first_position, "the last drawn id belongs elsewhere");
  return {slot.last_id};
}

std::int32_t& FakeRunner::Cell(const Slot& slot, std::int32_t position) {
  const auto index = static_cast<std::size_t>(position / limits_.block_tokens);
  CHECK(index < slot.table.size() && slot.table[index] >= 0, "no block for the position");
  const auto cell = static_cast<std::int64_t>(slot.table[index]) * limits_.block_tokens +
                    position % limits_.block_tokens;
  return store_[static_cast<std::size_t>(cell)];
}

void FakeRunner::WriteRow(const step::Plan& plan, const step::Row& row,
                          std::map<std::int32_t, std::int32_t>& writer) {
  const Slot& slot = slots_[static_cast<std::size_t>(row.slot)];
  std::int32_t position = row.first_position;
  for (const std::int32_t id : RowInputs(plan, row)) {
    Cell(slot, position) = id;
    const auto index = static_cast<std::size_t>(position / limits_.block_tokens);
    const auto [place, first] = writer.emplace(slot.table[index], row.slot);
    CHECK(first || place->second == row.slot, "two slots write one block");
    ++position;
  }
}

std::vector<std::int32_t> FakeRunner::ReadCells(std::int32_t slot, std::int32_t first,
                                                std::int32_t end) {
  std::vector<std::int32_t> ids;
  for (std::int32_t i = first; i < end; ++i) {
    ids.push_back(Cell(slots_[static_cast<std::size_t>(slot)], i));
  }
  return ids;
}

std::span<const step::MaskWord> FakeRunner::MaskOf(const step::Plan& plan,
                                                   const step::Row& row) const {
  if (row.mask == step::kNoMask) return {};
  const std::size_t words = step::NumMaskWords(limits_.vocab_size);
  return std::span(plan.masks).subspan(static_cast<std::size_t>(row.mask) * words, words);
}

FakeModel::Draw FakeRunner::DrawAfter(const step::Row& row, std::span<const std::int32_t> ids,
                                      step::Phase phase, std::span<const step::MaskWord> mask) {
  Slot& slot = slots_[static_cast<std::size_t>(row.slot)];
  CHECK(row.adjusted == slot.params.adjusts(), "a row says whether its logits are adjusted");
  if (phase != slot.counted_phase) slot.counted.drawn.clear();
  slot.counted_phase = phase;
  FakeModel::Draw draw = model_.Next(ids, slot.params, slot.biases[phase], phase, slot.counted);
  // The first that the mask holds from there on.
  for (std::int32_t i = 0; !mask.empty() && !Holds(mask, draw.id); ++i) {
    CHECK(i < limits_.vocab_size, "a mask holds an id");
    draw.id = (draw.id + 1) % limits_.vocab_size;
  }
  if (slot.params.counts()) ++slot.counted.drawn[draw.id];
  slot.last_id = draw.id;
  slot.last_id_position = static_cast<std::int32_t>(ids.size());
  return draw;
}

void FakeRunner::DrawRow(const step::Row& row, std::span<const std::int32_t> ids,
                         std::span<const step::MaskWord> mask, step::Result& result) {
  const std::int32_t think_end_id = slots_[static_cast<std::size_t>(row.slot)].params.think_end_id;
  step::Phase phase = row.phase;
  bool stands = true;
  std::vector<FakeModel::Draw> draws;
  for (std::size_t known = ids.size() - static_cast<std::size_t>(row.draws) + 1;
       known <= ids.size(); ++known) {
    if (think_end_id >= 0 && ids[known - 1] == think_end_id) phase = step::Phase::kAnswer;
    const FakeModel::Draw draw = DrawAfter(row, ids.first(known), phase, mask);
    if (stands) draws.push_back(draw);
    stands = stands && known < ids.size() && ids[known] == draw.id;
  }
  const auto withheld = static_cast<std::size_t>(withheld_());
  draws.resize(draws.size() - std::min(draws.size(), withheld));
  result.rows.push_back(
      {.slot = row.slot,
       .first_id = static_cast<std::int32_t>(result.ids.size()),
       .num_ids = static_cast<std::int32_t>(draws.size()),
       .not_finite = !draws.empty() && draws.back().not_finite,
       .first_alternative = static_cast<std::int32_t>(result.alternatives.size())});
  for (const FakeModel::Draw& draw : draws) {
    result.ids.push_back(draw.id);
    result.logprobs.push_back(row.logprob ? draw.logprob : 0);
    result.alternatives.insert(result.alternatives.end(), draw.alternatives.begin(),
                               draw.alternatives.begin() + row.alternatives);
  }
}

}  // namespace thinkwire::worker::engine
