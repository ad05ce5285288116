// ResponseStream: what it tells of all its outputs together.
#include <algorithm>

#include "common/rpc/proto_time.h"
#include "worker/serve/response_stream.h"

namespace thinkwire::worker::serve {
namespace {

// Of all outputs together: from the first token of any to the last of any.
OutputEvents::Times TimesOf(const std::vector<std::unique_ptr<Output>>& outputs) {
  OutputEvents::Times all;
  for (const auto& output : outputs) {
    const OutputEvents::Times& times = output->times();
    all.earlier_reasoning = std::max(all.earlier_reasoning, times.earlier_reasoning);
    if (!times.first_token) continue;
    all.first_token = std::min(all.first_token.value_or(*times.first_token), *times.first_token);
    all.last_reasoning_token = std::max(all.last_reasoning_token, times.last_reasoning_token);
    all.last_token = std::max(all.last_token, times.last_token);
  }
  return all;
}

}  // namespace

OutputEvents::Counts ResponseStream::counts_of_all() const {
  OutputEvents::Counts all;
  for (const auto& output : outputs_) {
    for (const step::Phase phase : step::kPhases) {
      all.tokens[phase] += output->counts().tokens[phase];
    }
    all.forced += output->counts().forced;
  }
  return all;
}

v1::GenerateResponse ResponseStream::MakeStarted() const {
  v1::GenerateResponse event;
  *event.mutable_started() = started_;
  event.mutable_started()->set_cached_prompt_tokens(meter_.counts().cached_prompt);
  return event;
}

v1::GenerateResponse ResponseStream::MakeCompleted(Clock::TimePoint now) const {
  v1::GenerateResponse event;
  v1::Usage& usage = *event.mutable_completed()->mutable_usage();
  usage.set_prompt_tokens(num_prompt_ids_);
  usage.set_cached_prompt_tokens(meter_.counts().cached_prompt);
  const OutputEvents::Counts counts = counts_of_all();
  usage.set_reasoning_tokens(counts.tokens[step::Phase::kReasoning]);
  usage.set_answer_tokens(counts.tokens[step::Phase::kAnswer]);
  usage.set_forced_tokens(counts.forced);
  usage.set_discarded_tokens(discarded_tokens());

  v1::Timings& timings = *event.mutable_completed()->mutable_timings();
  const OutputEvents::Times times = TimesOf(outputs_);
  const Clock::TimePoint started = call_.arrival + meter_.queue_time(now);
  const Clock::TimePoint first = times.first_token.value_or(now);
  rpc::SetDuration(started - call_.arrival, timings.mutable_queue());
  rpc::SetDuration(first - started, timings.mutable_prefill());
  if (counts.tokens[step::Phase::kReasoning] > 0) {
    const Clock::Duration own = times.last_reasoning_token.value_or(first) - first;
    rpc::SetDuration(times.earlier_reasoning + own, timings.mutable_reasoning());
  }
  if (meter_.counts().answer > 0) {
    rpc::SetDuration(*times.last_token - times.last_reasoning_token.value_or(first),
                     timings.mutable_answer());
  }
  return event;
}

std::int32_t ResponseStream::discarded_tokens() const {
  std::int32_t tokens = 0;
  for (const auto& output : outputs_) tokens += output->discarded_tokens();
  return tokens;
}

std::int32_t ResponseStream::preemptions() const {
  std::int32_t preemptions = 0;
  for (const auto& output : outputs_) preemptions += output->ending().preemptions;
  return preemptions;
}

}  // namespace thinkwire::worker::serve
