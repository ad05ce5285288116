#include "worker/engine/sequence.h"

#include <utility>

#include "common/check.h"

namespace thinkwire::worker::engine {

Sequence::Sequence(RequestHandle handle, Request request, std::int32_t max_tokens,
                   std::shared_ptr<TokenStream> stream)
    : stream(std::move(stream)),
      handle_(handle),
      request_(std::move(request)),
      max_tokens_(max_tokens),
      ids_(request_.prompt_ids),
      phase_(StartPhase(request_.start_phase, request_.prompt_ids, request_.sampling.think_end_id),
             request_.sampling.think_end_id) {}

void Sequence::OnSubmitted(std::int32_t count, bool sample) {
  computed_ += count;
  ++steps_in_flight_;
  if (sample) ++samples_in_flight_;
  CHECK(computed_ <= committed() + samples_in_flight_, "inputs are known or being drawn");
}

void Sequence::OnCollected(bool sample) {
  CHECK(steps_in_flight_ > 0, "a step is collected once");
  --steps_in_flight_;
  if (sample) --samples_in_flight_;
}

Token Sequence::Commit(std::int32_t id, float logprob) {
  ids_.push_back(id);
  ++generated_;
  return Token{.id = id, .logprob = logprob, .phase = phase_.Next(id)};
}

void Sequence::Release() {
  CHECK(steps_in_flight_ == 0, "blocks outlive the steps that name them");
  blocks_.clear();
  slot = -1;
  blocks_told = 0;
  sampling_told = false;
  computed_ = 0;
}

}  // namespace thinkwire::worker::engine
