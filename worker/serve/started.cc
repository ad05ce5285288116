#include "worker/serve/started.h"

#include "worker/serve/thinking_reader.h"

namespace thinkwire::worker::serve {
namespace {

void TellSampling(const RequestReader::Reading& reading, step::Phase phase,
                  v1::PhaseSampling& out) {
  const step::PhaseSampling& sampling = reading.request.sampling.phases[phase];
  out.set_temperature(sampling.temperature);
  out.set_top_p(sampling.top_p);
  out.set_top_k(sampling.top_k);
  out.set_min_p(sampling.min_p);
  out.set_repetition_penalty(sampling.repetition_penalty);
  out.set_presence_penalty(sampling.presence_penalty);
  out.set_frequency_penalty(sampling.frequency_penalty);
  out.set_logprobs(reading.output.logprobs[phase]);
  out.set_top_logprobs(reading.output.alternatives[phase]);
  out.set_token_bytes(reading.output.token_bytes[phase]);
}

v1::Phase FirstPhaseOf(const OutputEvents::Options& output) {
  if (output.is_undecided) return v1::PHASE_UNSPECIFIED;
  return output.start_phase == step::Phase::kReasoning ? v1::PHASE_REASONING : v1::PHASE_ANSWER;
}

}  // namespace

v1::Started StartedOf(const RequestReader::Reading& reading, const ServedModel& model) {
  v1::Started started;
  started.set_prompt_tokens(static_cast<std::int32_t>(reading.request.prompt_ids.size()));
  started.set_seed(reading.request.sampling.seed);
  started.mutable_limits()->set_max_tokens(reading.max_tokens);
  started.mutable_limits()->set_max_model_len(model.limits.context());
  started.mutable_limits()->set_vocab_size(model.limits.vocab_size);
  const engine::Thinking& thinking = reading.request.thinking;
  if (thinking.budget_tokens) {
    started.mutable_limits()->set_reasoning_budget_tokens(*thinking.budget_tokens);
  }
  *started.mutable_effective() = EffectiveOf(thinking);
  started.set_fingerprint(model.fingerprint);
  started.set_first_phase(FirstPhaseOf(reading.output));
  TellSampling(reading, step::Phase::kReasoning, *started.mutable_reasoning_sampling());
  TellSampling(reading, step::Phase::kAnswer, *started.mutable_answer_sampling());
  return started;
}

}  // namespace thinkwire::worker::serve
