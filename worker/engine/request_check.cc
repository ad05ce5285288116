#include "worker/engine/request_check.h"

#include <algorithm>
#include <cmath>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace thinkwire::worker::engine {
namespace {

// Also false for NaN.
bool Within(float value, float low, float high) { return value >= low && value <= high; }

absl::Status CheckPhaseSampling(const step::PhaseSampling& sampling, const char* phase) {
  if (!(sampling.temperature >= 0 && std::isfinite(sampling.temperature))) {
    return absl::InvalidArgumentError(
        absl::StrCat(phase, " temperature ", sampling.temperature, " is not a finite number >= 0"));
  }
  if (!Within(sampling.top_p, 0, 1) || sampling.top_p == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(phase, " top_p ", sampling.top_p, " is not in (0, 1]"));
  }
  if (!Within(sampling.min_p, 0, 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat(phase, " min_p ", sampling.min_p, " is not in [0, 1]"));
  }
  if (sampling.top_k < 0) {
    return absl::InvalidArgumentError(absl::StrCat(phase, " top_k ", sampling.top_k, " is < 0"));
  }
  if (!Within(sampling.repetition_penalty, 0, 2) || sampling.repetition_penalty == 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        phase, " repetition_penalty ", sampling.repetition_penalty, " is not in (0, 2]"));
  }
  if (!Within(sampling.presence_penalty, -2, 2)) {
    return absl::InvalidArgumentError(
        absl::StrCat(phase, " presence_penalty ", sampling.presence_penalty, " is not in [-2, 2]"));
  }
  if (!Within(sampling.frequency_penalty, -2, 2)) {
    return absl::InvalidArgumentError(absl::StrCat(
        phase, " frequency_penalty ", sampling.frequency_penalty, " is not in [-2, 2]"));
  }
  return absl::OkStatus();
}

absl::Status CheckLogitBias(const std::vector<step::LogitBias>& biases, std::int32_t vocab_size,
                            const char* phase) {
  if (biases.size() > static_cast<std::size_t>(step::kMaxLogitBiases)) {
    return absl::InvalidArgumentError(absl::StrCat(phase, " logit biases are ", biases.size(),
                                                   ", more than ", step::kMaxLogitBiases));
  }
  std::int32_t last = -1;
  for (const step::LogitBias& bias : biases) {
    if (bias.id <= last || bias.id >= vocab_size) {
      return absl::InvalidArgumentError(absl::StrCat(phase, " logit bias's id ", bias.id,
                                                     " is not in the vocabulary of ", vocab_size,
                                                     ", or does not ascend"));
    }
    last = bias.id;
    if (!Within(bias.bias, -100, 100)) {
      return absl::InvalidArgumentError(absl::StrCat(phase, " logit bias ", bias.bias, " of id ",
                                                     bias.id, " is not in [-100, 100]"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSampling(const Request& request, std::int32_t vocab_size) {
  const step::SamplingParams& sampling = request.sampling;
  RETURN_IF_ERROR(CheckPhaseSampling(sampling.phases[step::Phase::kReasoning], "reasoning"));
  RETURN_IF_ERROR(CheckPhaseSampling(sampling.phases[step::Phase::kAnswer], "answer"));
  RETURN_IF_ERROR(
      CheckLogitBias(request.logit_bias[step::Phase::kReasoning], vocab_size, "reasoning"));
  RETURN_IF_ERROR(CheckLogitBias(request.logit_bias[step::Phase::kAnswer], vocab_size, "answer"));
  if (sampling.think_end_id < -1 || sampling.think_end_id >= vocab_size) {
    return absl::InvalidArgumentError(absl::StrCat("think-end id ", sampling.think_end_id,
                                                   " is not in the vocabulary of ", vocab_size));
  }
  return absl::OkStatus();
}

absl::Status CheckIds(const std::vector<std::int32_t>& ids, std::int32_t vocab_size,
                      const char* what) {
  for (const std::int32_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(what, " id ", id, " is not in the vocabulary of ", vocab_size));
  }
  return absl::OkStatus();
}

absl::Status CheckStopIds(const std::vector<std::int32_t>& ids, std::int32_t vocab_size,
                          const char* what) {
  if (ids.size() <= kMaxStopIds) return CheckIds(ids, vocab_size, what);
  return absl::InvalidArgumentError(
      absl::StrCat(what, " ids are ", ids.size(), ", more than ", kMaxStopIds));
}

absl::Status CheckOpening(const Request& request, std::int32_t vocab_size) {
  if (!request.opening) return absl::OkStatus();
  if (request.start_phase != step::Phase::kAnswer) {
    return absl::InvalidArgumentError("reasoning that the output starts in cannot be opened");
  }
  const std::int32_t id = request.opening->think_begin_id;
  if (id >= 0 && id < vocab_size) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("think-begin id ", id, " is not in the vocabulary of ", vocab_size));
}

absl::Status CheckForcedIds(const std::vector<std::int32_t>& ids, std::int32_t vocab_size,
                            const char* what) {
  if (std::ssize(ids) <= kMaxForcedIds) return CheckIds(ids, vocab_size, what);
  return absl::InvalidArgumentError(
      absl::StrCat(what, " ids are ", ids.size(), ", more than ", kMaxForcedIds));
}

absl::Status CheckLoops(const LoopLimits& loops) {
  const std::int32_t period = loops.max_period_tokens;
  if (loops.max_repeats < 2 || period < 1 || period > kMaxLoopPeriodTokens) {
    return absl::InvalidArgumentError(absl::StrCat("a loop of ", loops.max_repeats, " times ",
                                                   period, " tokens is not at least 2 times 1 to ",
                                                   kMaxLoopPeriodTokens));
  }
  const float share = loops.near_share.value_or(1);
  if (share > 0 && share <= 1) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a share of ", share, " is not in (0, 1]"));
}

absl::Status CheckThinking(const Thinking& thinking, std::int32_t vocab_size) {
  RETURN_IF_ERROR(CheckForcedIds(thinking.closing_ids, vocab_size, "closing"));
  RETURN_IF_ERROR(CheckForcedIds(thinking.continue_ids, vocab_size, "continuing"));
  if (thinking.budget_tokens.value_or(0) < 0 || thinking.min_answer_tokens < 0 ||
      thinking.min_tokens < 0) {
    return absl::InvalidArgumentError("a number of tokens to think or answer with is < 0");
  }
  if (!Within(thinking.landing_share, 0, 1) ||
      (thinking.landing_share > 0 && thinking.sentence_parts == nullptr)) {
    return absl::InvalidArgumentError("the landing share is not in [0, 1], or ends at no sentence");
  }
  return thinking.loops ? CheckLoops(*thinking.loops) : absl::OkStatus();
}

absl::Status CheckAlternatives(const Request& request, std::int32_t vocab_size) {
  const std::int32_t most = std::min(step::kMaxAlternatives, vocab_size);
  if (request.alternatives < 0 || request.alternatives > most) {
    return absl::InvalidArgumentError(
        absl::StrCat("alternatives ", request.alternatives, " are not in [0, ", most, "]"));
  }
  if (request.alternatives > 0 && !request.logprobs) {
    return absl::InvalidArgumentError("alternatives need logprobs");
  }
  return absl::OkStatus();
}

// Tokens that fit.
struct Room {
  std::int64_t context;
  std::int64_t cache;
};

absl::Status CheckPromptLength(std::int64_t prompt, const Room& room) {
  if (prompt + 1 > room.context) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt of ", prompt, " tokens + 1 exceeds the context of ", room.context, " tokens"));
  }
  if (prompt > room.cache) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt of ", prompt, " tokens exceeds the whole KV cache of ", room.cache, " tokens"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::int32_t> MaxTokens(const Request& request, std::int64_t prompt,
                                       const Room& room) {
  // The last token drawn is never an input, so that it needs no room in the cache.
  const std::int64_t most = std::min(room.context, room.cache + 1) - prompt;
  const std::int64_t max_tokens = request.max_tokens.value_or(static_cast<std::int32_t>(most));
  if (max_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens ", max_tokens, " is < 1"));
  }
  if (prompt + max_tokens > room.context) {
    return absl::InvalidArgumentError(absl::StrCat("prompt of ", prompt, " tokens + max_tokens ",
                                                   max_tokens, " exceeds the context of ",
                                                   room.context, " tokens"));
  }
  if (max_tokens > most) {
    return absl::InvalidArgumentError(absl::StrCat("prompt of ", prompt, " tokens + max_tokens ",
                                                   max_tokens, " exceeds the whole KV cache of ",
                                                   room.cache, " tokens"));
  }
  return static_cast<std::int32_t>(max_tokens);
}

absl::Status CheckDrawn(const Request& request, std::int32_t max_tokens, std::int32_t vocab_size) {
  const std::size_t drawn = request.drawn_ids.size();
  if (drawn >= static_cast<std::size_t>(max_tokens)) {
    return absl::InvalidArgumentError(
        absl::StrCat("drawn ids are ", drawn, ", max_tokens ", max_tokens, " leaves none to draw"));
  }
  return CheckIds(request.drawn_ids, vocab_size, "drawn");
}

}  // namespace

absl::StatusOr<std::int32_t> CheckRequest(const Request& request, const step::Limits& limits) {
  const auto prompt = static_cast<std::int64_t>(request.prompt_ids.size());
  const std::int32_t vocab_size = limits.vocab_size;
  const Room room{.context = limits.max_model_len,
                  .cache = std::int64_t{limits.num_blocks} * limits.block_tokens};
  // First the length, so that a huge prompt costs nothing.
  RETURN_IF_ERROR(CheckPromptLength(prompt, room));
  if (request.prompt_ids.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  RETURN_IF_ERROR(CheckIds(request.prompt_ids, vocab_size, "prompt"));
  RETURN_IF_ERROR(CheckSampling(request, vocab_size));
  RETURN_IF_ERROR(CheckOpening(request, vocab_size));
  RETURN_IF_ERROR(CheckAlternatives(request, vocab_size));
  RETURN_IF_ERROR(CheckThinking(request.thinking, vocab_size));
  if (request.format != nullptr && request.ignore_eos) {
    return absl::InvalidArgumentError("an answer's format needs ids of end-of-sequence");
  }
  RETURN_IF_ERROR(
      CheckStopIds(request.stop_ids[step::Phase::kReasoning], vocab_size, "reasoning stop"));
  RETURN_IF_ERROR(CheckStopIds(request.stop_ids[step::Phase::kAnswer], vocab_size, "answer stop"));
  ASSIGN_OR_RETURN(const std::int32_t max_tokens, MaxTokens(request, prompt, room));
  RETURN_IF_ERROR(CheckDrawn(request, max_tokens, vocab_size));
  return max_tokens;
}

}  // namespace thinkwire::worker::engine
