#include "worker/model/step/result_queue.h"

#include <bit>

#include "common/check.h"
#include "worker/model/step/sampler.h"

namespace thinkwire::worker::model {

ResultQueue::ResultQueue(const step::Limits& limits, kernels::Backend& backend)
    : backend_(backend) {
  const std::size_t bytes = static_cast<std::size_t>(kDrawnMost) *
                            static_cast<std::size_t>(limits.most_draws()) * sizeof(std::int32_t);
  for (std::int32_t i = 0; i < limits.max_in_flight; ++i) {
    slots_.push_back({backend.AllocateHost(bytes), {}, backend.MakeFence()});
  }
}

void ResultQueue::Push(std::uint64_t step, const kernels::Tensor& drawn) {
  Slot& slot = SlotOf(step);
  CHECK(drawn.bytes() <= slot.drawn.bytes(), "a step draws more than a plan may");
  slot.shape = drawn;
  if (drawn.size() > 0) backend_.CopyToHost(slot.drawn.data(), drawn.data, drawn.bytes());
  slot.done->Record();
  MutexLock lock(mu_);
  CHECK(step == last_pushed_ + 1, "steps are pushed in order");
  last_pushed_ = step;
  pushed_.NotifyOne();
}

void ResultQueue::AwaitPush(std::uint64_t step) {
  MutexLock lock(mu_);
  while (last_pushed_ < step) pushed_.Wait(mu_);
}

step::Result ResultQueue::Pop(const step::Plan& plan) {
  AwaitPush(plan.step);
  const Slot& slot = SlotOf(plan.step);
  slot.done->Wait();
  step::Result result;
  result.step = plan.step;
  for (const step::Row& row : plan.rows) {
    if (row.draws > 0) AddRow(slot, row, result);
  }
  return result;
}

void ResultQueue::AddRow(const Slot& slot, const step::Row& row, step::Result& result) {
  const std::int64_t draws = slot.shape.dim(1);
  const auto* const ids = static_cast<const std::int32_t*>(slot.drawn.data());
  const std::int32_t* const logprobs = ids + draws;
  const std::int32_t* const not_finite = logprobs + draws;
  const std::int32_t* const alternatives = not_finite + draws;
  const std::int32_t* const alternative_logprobs = alternatives + draws * step::kMaxAlternatives;
  const auto first = static_cast<std::int32_t>(result.ids.size());
  CHECK(first + row.draws <= draws && (row.alternatives == 0 || slot.shape.dim(0) == kDrawnMost),
        "each draw has its result");
  result.rows.push_back(
      {.slot = row.slot,
       .first_id = first,
       .num_ids = row.draws,
       .first_alternative = static_cast<std::int32_t>(result.alternatives.size())});
  for (std::int32_t l = first; l < first + row.draws; ++l) {
    result.ids.push_back(ids[l]);
    result.logprobs.push_back(row.logprob ? std::bit_cast<float>(logprobs[l]) : 0.0F);
    result.rows.back().not_finite |= not_finite[l] != 0;
    for (std::int32_t i = 0; i < row.alternatives; ++i) {
      const std::int32_t at = l * step::kMaxAlternatives + i;
      result.alternatives.push_back(
          {alternatives[at], std::bit_cast<float>(alternative_logprobs[at])});
    }
  }
}

}  // namespace thinkwire::worker::model
