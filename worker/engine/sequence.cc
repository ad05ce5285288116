#include "worker/engine/sequence.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "worker/engine/ending_rule.h"

namespace thinkwire::worker::engine {

namespace {

Request WithNumBiases(Request request) {
  for (const step::Phase phase : step::kPhases) {
    request.sampling.phases[phase].num_biases =
        static_cast<std::int32_t>(request.logit_bias[phase].size());
  }
  return request;
}

std::int32_t PromptTokens(const Request& request) {
  return static_cast<std::int32_t>(request.prompt_ids.size());
}

}  // namespace

Sequence::Sequence(RequestHandle handle, Request request, std::int32_t max_tokens,
                   std::shared_ptr<TokenStream> stream, std::uint64_t arrival_step, Peer* peer)
    : handle_(handle),
      arrival_step_(arrival_step),
      peer_(peer),
      request_(WithNumBiases(std::move(request))),
      max_tokens_(max_tokens),
      stream_(std::move(stream)),
      ids_(request_.prompt_ids),
      phase_(StartOf(request_)),
      plan_(request_, max_tokens),
      phase_begin_(committed()) {
  for (const std::int32_t id : request_.drawn_ids) Append(id, plan_.ReplayOrigin());
}

std::int32_t Sequence::generated() const { return committed() - PromptTokens(request_); }

std::span<const std::int32_t> Sequence::counted_prompt() const {
  if (!request_.sampling.counts_prompt()) return {};
  return request_.prompt_ids;
}

std::span<const std::int32_t> Sequence::counted_draws() const {
  if (!request_.sampling.counts()) return {};
  return std::span(ids_).subspan(static_cast<std::size_t>(phase_begin_));
}

void Sequence::Admit(std::int32_t slot) {
  CHECK(state_ == SequenceState::kQueued, "who waits is admitted");
  state_ = SequenceState::kRunning;
  slot_ = slot;
  preempted_ = false;
  began_ = false;
  admitted_length_ = committed();
}

void Sequence::Preempt() {
  Leave();
  ++preemptions_;
  preempted_ = true;
}

void Sequence::Leave() {
  CHECK(state_ == SequenceState::kRunning, "who runs leaves");
  state_ = SequenceState::kLeaving;
}

void Sequence::Requeue() {
  CHECK(state_ == SequenceState::kLeaving && steps_in_flight_ == 0 && blocks_.empty(),
        "who comes back to the queue holds nothing");
  state_ = SequenceState::kQueued;
  slot_ = -1;
  blocks_told_ = 0;
  blocks_cached_ = 0;
  sampling_told_ = false;
  lost_ = std::max(lost_, computed_);
  computed_ = 0;
  TellSilence(Silence{.reason = SilenceReason::kWaiting, .total = committed()});
}

void Sequence::Park() {
  CHECK(state_ == SequenceState::kQueued, "who holds nothing is parked");
  state_ = SequenceState::kParked;
  TellSilence(std::nullopt);  // its reader has tokens to read
  preempted_ = false;
}

void Sequence::Return() {
  CHECK(state_ == SequenceState::kParked, "who was parked comes back");
  state_ = SequenceState::kQueued;
}

void Sequence::End(EndReason reason) {
  CHECK(state_ != SequenceState::kEnded, "an output ends once");
  state_ = SequenceState::kEnded;
  stream_->SetEnding(
      {.reason = reason, .generated_tokens = generated(), .preemptions = preemptions_});
  stream_.reset();
}

void Sequence::TellPosition(std::int32_t position) {
  if (started_ || queue_position_ == position) return;
  queue_position_ = position;
  stream_->SetQueuePosition(position);
}

void Sequence::TellStarted() {
  if (std::exchange(started_, true)) return;
  stream_->SetStarted(std::min(computed_, PromptTokens(request_)));
}

bool Sequence::Tell(const Token& token) {
  TellSilence(std::nullopt);
  return stream_->Push(token);
}

void Sequence::TellSilence(const std::optional<Silence>& silence) {
  if (request_.tells_silence && stream_ != nullptr) stream_->SetSilence(silence);
}

Silence Sequence::Computing(std::int32_t computed) const {
  const bool again = lost_ > computed;
  return {.reason = again ? SilenceReason::kRecompute : SilenceReason::kPrefill,
          .computed = computed,
          .total = committed()};
}

std::int32_t Sequence::ReadyToDraw() const {
  const std::int32_t left = max_tokens_ - generated() - draws_in_flight_;
  const bool waits = undecided() || plan_.is_masked();
  if (draws_in_flight_ > (waits ? 0 : 1) || left <= 0 || plan_.is_finding_mask()) return 0;
  if (draws_in_flight_ > 0 && masks_ != masks_think_end()) return 0;
  const auto room = static_cast<std::int32_t>(stream_->room());
  const bool one_by_one = undecided() || masks_think_end();
  return std::min(one_by_one ? 1 : left, std::max(0, room - draws_in_flight_));
}

bool Sequence::paused() const {
  return state_ == SequenceState::kRunning && steps_in_flight_ == 0 && reading().full();
}

std::int32_t Sequence::RecomputedOf(std::int32_t count) const {
  return std::clamp(lost_ - computed_, 0, count);
}

void Sequence::Propose(std::vector<std::int32_t> ids) {
  // What a penalty counts or a format allows, and so the next draw, would depend on which of the
  // draws stand.
  const bool depends = request_.sampling.adjusts() || request_.format != nullptr;
  if (!depends) proposed_ = std::move(ids);
}

void Sequence::OnSubmitted(std::int32_t count, std::int32_t draws) {
  began_ = true;
  if (count > std::max(1, draws)) TellSilence(Computing(computed_));
  computed_ += count;
  ++steps_in_flight_;
  draws_in_flight_ += draws;
  proposed_.clear();
  CHECK(computed_ <= committed() + draws_in_flight_, "inputs are known or being drawn");
}

bool Sequence::OnCollected(std::int32_t draws, std::uint32_t epoch) {
  CHECK(steps_in_flight_ > 0, "a step is collected once");
  --steps_in_flight_;
  if (epoch != epoch_) return false;
  draws_in_flight_ -= draws;
  return true;
}

Token Sequence::Commit(std::int32_t id, float logprob) {
  Token token = Append(id, TokenOrigin::kDrawn);
  token.logprob = logprob;
  return token;
}

Token Sequence::Force(std::int32_t id, TokenOrigin origin) {
  CHECK(state_ != SequenceState::kEnded && origin != TokenOrigin::kDrawn, "someone forces it");
  PassOver(committed());
  return Append(id, origin);
}

Token Sequence::Append(std::int32_t id, TokenOrigin origin) {
  ids_.push_back(id);
  proposed_.clear();
  return Follow(id, origin, committed());
}

Token Sequence::Follow(std::int32_t id, TokenOrigin origin, std::int32_t committed) {
  const bool was_undecided = undecided();
  Token token = NextToken(phase_, id);
  token.origin = origin;
  plan_.Hear(token);
  if (token.mark == TokenMark::kClosesReasoning) phase_begin_ = committed;
  // The runner has counted what came before as drawn in the reasoning, and forgets it in the
  // answer.
  const bool decides = was_undecided && !undecided();
  if (decides && request_.sampling.counts()) sampling_told_ = false;
  return token;
}

std::vector<BlockHandle> Sequence::Rewind(std::int32_t committed, std::int32_t block_tokens) {
  CHECK(state_ != SequenceState::kEnded && committed >= PromptTokens(request_) &&
            committed <= this->committed(),
        "what it goes back to was there");
  const bool takes_back = committed < this->committed();
  ids_.resize(static_cast<std::size_t>(committed));
  if (takes_back) ReplayIds();
  PassOver(committed - 1);
  // The blocks of one that leaves are given back when it has left.
  if (state_ != SequenceState::kRunning) return {};
  const std::int32_t next = computed_ / block_tokens;  // the next input's block
  std::int32_t keep = std::max(next + 1, (committed + block_tokens - 1) / block_tokens);
  if (next < blocks_cached_) {
    keep = next;
    computed_ = next * block_tokens;
  }
  blocks_cached_ = std::min(blocks_cached_, keep);
  blocks_told_ = std::min(blocks_told_, keep);
  std::vector<BlockHandle> dropped;
  for (; num_blocks() > keep; blocks_.pop_back()) dropped.push_back(std::move(blocks_.back()));
  return dropped;
}

void Sequence::ReplayIds() {
  phase_ = StartOf(request_);
  phase_begin_ = PromptTokens(request_);
  plan_.BeginAgain(generated());
  for (std::int32_t i = phase_begin_; i < committed();) {
    const std::int32_t id = ids_[static_cast<std::size_t>(i)];
    Follow(id, plan_.ReplayOrigin(), ++i);
  }
}

void Sequence::PassOver(std::int32_t limit) {
  ++epoch_;
  proposed_.clear();
  draws_in_flight_ = 0;
  computed_ = std::min(computed_, limit);
  lost_ = std::min(lost_, limit);
  // The runner has counted what it drew for nothing, and will not count what was forced.
  if (request_.sampling.counts()) sampling_told_ = false;
}

void Sequence::AddCachedBlock(BlockHandle block, std::int32_t tokens) {
  CHECK(blocks_cached_ == num_blocks(), "cached blocks come first");
  AddBlock(std::move(block));
  ++blocks_cached_;
  computed_ += tokens;
}

std::optional<BlockHandle> Sequence::TakeLastBlock() {
  CHECK(steps_in_flight_ == 0, "blocks outlive the steps that name them");
  if (blocks_.empty()) return std::nullopt;
  BlockHandle block = std::move(blocks_.back());
  blocks_.pop_back();
  return block;
}

BlockHandle Sequence::ExchangeForCached(BlockHandle block) {
  std::swap(blocks_[static_cast<std::size_t>(blocks_cached_)], block);
  blocks_told_ = std::min(blocks_told_, blocks_cached_);
  ++blocks_cached_;
  return block;
}

void Sequence::OnTold() {
  blocks_told_ = num_blocks();
  sampling_told_ = true;
  masks_ = masks_think_end();
}

void Sequence::CheckInvariants(std::int32_t block_tokens) const {
  if (state_ == SequenceState::kQueued || state_ == SequenceState::kParked) {
    CHECK(slot_ < 0 && blocks_.empty() && steps_in_flight_ == 0, "who waits holds nothing");
  }
  if (state_ != SequenceState::kRunning) return;
  if (draws_in_flight_ == 0) {
    CHECK(computed_ < committed(), "something is left to compute");
  } else {
    CHECK(computed_ == committed() + draws_in_flight_ - 1, "the next input is being drawn");
  }
  CHECK(computed_ <= num_blocks() * block_tokens, "blocks cover what is computed");
  CHECK(blocks_cached_ * block_tokens <= computed_, "what is cached is computed");
}

}  // namespace thinkwire::worker::engine
