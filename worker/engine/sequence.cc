#include "worker/engine/sequence.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

namespace {

Request WithNumBiases(Request request) {
  for (const step::Phase phase : {step::Phase::kReasoning, step::Phase::kAnswer}) {
    request.sampling.phases[phase].num_biases =
        static_cast<std::int32_t>(request.logit_bias[phase].size());
  }
  return request;
}

}  // namespace

Sequence::Sequence(RequestHandle handle, Request request, std::int32_t max_tokens,
                   std::shared_ptr<TokenStream> stream)
    : stream(std::move(stream)),
      handle_(handle),
      request_(WithNumBiases(std::move(request))),
      max_tokens_(max_tokens),
      ids_(request_.prompt_ids),
      phase_(StartPhase(request_.start_phase, request_.prompt_ids, request_.sampling.think_end_id),
             request_.sampling.think_end_id),
      phase_begin_(committed()) {}

std::int32_t Sequence::RecomputedOf(std::int32_t count) const {
  return std::clamp(lost_ - computed_, 0, count);
}

void Sequence::OnSubmitted(std::int32_t count, std::int32_t draws) {
  computed_ += count;
  ++steps_in_flight_;
  draws_in_flight_ += draws;
  CHECK(computed_ <= committed() + draws_in_flight_, "inputs are known or being drawn");
}

void Sequence::OnCollected(std::int32_t draws) {
  CHECK(steps_in_flight_ > 0, "a step is collected once");
  --steps_in_flight_;
  draws_in_flight_ -= draws;
}

Token Sequence::Commit(std::int32_t id, float logprob) {
  ids_.push_back(id);
  ++generated_;
  const step::Phase phase = phase_.Next(id);
  const bool closes = phase != phase_.phase();
  if (closes) phase_begin_ = committed();
  return Token{.id = id,
               .logprob = logprob,
               .phase = phase,
               .mark = closes ? TokenMark::kClosesReasoning : TokenMark::kText};
}

std::span<const std::int32_t> Sequence::counted_prompt() const {
  if (!request_.sampling.counts_prompt()) return {};
  return request_.prompt_ids;
}

std::span<const std::int32_t> Sequence::counted_draws() const {
  if (!request_.sampling.counts()) return {};
  return std::span(ids_).subspan(static_cast<std::size_t>(phase_begin_));
}

void Sequence::AddCachedBlock(BlockHandle block, std::int32_t tokens) {
  CHECK(blocks_cached == num_blocks(), "cached blocks come first");
  AddBlock(std::move(block));
  ++blocks_cached;
  computed_ += tokens;
}

BlockHandle Sequence::ReplaceBlock(std::int32_t index, BlockHandle block) {
  std::swap(blocks_[static_cast<std::size_t>(index)], block);
  blocks_told = std::min(blocks_told, index);
  return block;
}

std::optional<BlockHandle> Sequence::TakeLastBlock() {
  CHECK(steps_in_flight_ == 0, "blocks outlive the steps that name them");
  if (blocks_.empty()) return std::nullopt;
  BlockHandle block = std::move(blocks_.back());
  blocks_.pop_back();
  return block;
}

void Sequence::Reset() {
  CHECK(blocks_.empty(), "what was computed goes with its blocks");
  slot = -1;
  blocks_told = 0;
  blocks_cached = 0;
  sampling_told = false;
  lost_ = std::max(lost_, computed_);
  computed_ = 0;
}

}  // namespace thinkwire::worker::engine
