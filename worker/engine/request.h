#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/clock.h"
#include "worker/engine/answer_format.h"
#include "worker/engine/phase.h"
#include "worker/engine/thinking.h"
#include "worker/step/limits.h"
#include "worker/step/sampling.h"

namespace thinkwire::worker::engine {

using RequestHandle = std::uint64_t;  // never reused; ascending in order of arrival

inline constexpr std::size_t kMaxStopIds = 16;  // of a phase

// What is asked of the engine: token ids in, token ids out. Text is nobody's business here.
struct Request {
  std::string id;                        // for logs only
  std::string peer;                      // who asks: peers have equal shares (FairShare)
  std::vector<std::int32_t> prompt_ids;  // not empty, each in [0, vocab_size)
  // What was drawn of the output before, perhaps by another worker: it goes on from there as if it
  // had drawn them itself, and the stream gets only what comes after them. Each in [0, vocab_size),
  // fewer than max_tokens, which counts them. REQUIRES: none of them ends the output (Replay).
  std::vector<std::int32_t> drawn_ids = {};
  step::Phase start_phase = step::Phase::kReasoning;
  // With kAnswer: the model may open the reasoning itself. The tokens until that is decided are
  // drawn as the reasoning's, and one at a time.
  std::optional<Opening> opening;
  step::SamplingParams sampling;  // num_biases: whatever it says, logit_bias counts
  step::PerPhase<std::vector<step::LogitBias>> logit_bias =
      {};                                  // ids ascending, <= kMaxLogitBiases
  std::optional<std::int32_t> max_tokens;  // >= 1; unset: the rest of max_model_len
  Thinking thinking = {};                  // how it is steered
  // What the answer must look like; null: anything. Not with ignore_eos.
  std::shared_ptr<const AnswerFormat> format = nullptr;
  bool ignore_eos = false;  // end-of-sequence ids are tokens like any other
  // By Phase: the output ends when one of these is drawn in it. Each in [0, vocab_size), at most
  // kMaxStopIds.
  step::PerPhase<std::vector<std::int32_t>> stop_ids = {};
  bool logprobs = false;       // of the chosen tokens
  bool tells_silence = false;  // the stream tells why no tokens come (TokenStream::silence)
  // With `logprobs`: how many of the most probable tokens are told with each, [0, the lesser of
  // kMaxAlternatives and vocab_size].
  std::int32_t alternatives = 0;
  std::string cache_salt;  // cached blocks are shared with equal salts alone
  // Of several that came together and have one prompt and salt, the handle of the first (Engine
  // sets it); 0: it came alone. Their prompt's blocks are shared even where nothing else is.
  RequestHandle prompt_of = 0;
  std::optional<Clock::TimePoint> deadline;
};

// The phases of a request's output, before its first token. Borrows the request.
inline PhaseMachine StartOf(const Request& request) {
  const std::int32_t think_end_id = request.sampling.think_end_id;
  const Opening* const opening = request.opening ? &*request.opening : nullptr;
  return {StartPhase(request.start_phase, request.prompt_ids, think_end_id), think_end_id, opening};
}

// Why an output ended.
enum class EndReason : std::uint8_t {
  kEndOfSequence,     // the model drew an end-of-sequence id
  kStopId,            // the model drew one of Request::stop_ids that is no end-of-sequence id
  kLength,            // max_tokens, or the context is full
  kLoop,              // the answer goes in circles
  kFinishedByReader,  // Engine::Finish
  kCancelled,         // Engine::Cancel
  kDeadline,          // Request::deadline passed
  kDeadlineTooSoon,   // before its prompt could be computed, at the best pace seen lately
  kSlowReader,        // its reader took less than ReaderPace wants, or too many were parked
  kNotFinite,         // the model gave NaN or infinity
  kShutdown,          // Engine::Stop while it ran
};

// The last thing a stream says.
struct Ending {
  EndReason reason = EndReason::kEndOfSequence;
  std::int32_t generated_tokens = 0;  // given to the stream, and Request::drawn_ids
  std::int32_t preemptions = 0;       // times the sequence lost its slot and blocks to others
};

}  // namespace thinkwire::worker::engine
