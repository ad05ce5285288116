#include "worker/serve/request_reader.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/check.h"
#include "common/rpc/error_metadata.h"
#include "common/rpc/phase_sampling.h"
#include "common/rpc/status_details.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/steering_limits.h"
#include "worker/serve/resume_reader.h"
#include "worker/text/first_phase.h"
#include "worker/text/stop_matcher.h"

namespace thinkwire::worker::serve {
namespace {

text::Role ReadRole(v1::Role role) {
  switch (role) {
    case v1::ROLE_SYSTEM:
      return text::Role::kSystem;
    case v1::ROLE_ASSISTANT:
      return text::Role::kAssistant;
    case v1::ROLE_TOOL:
      return text::Role::kTool;
    default:
      return text::Role::kUser;
  }
}

text::ChatMessage ReadMessage(const v1::ChatMessage& message) {
  text::ChatMessage out{.role = ReadRole(message.role()), .content = message.content()};
  for (const v1::ToolCall& call : message.tool_calls()) {
    out.tool_calls.push_back({.name = call.name(), .arguments = call.arguments()});
  }
  return out;
}

text::ThinkingMode ReadMode(v1::ThinkingMode mode) {
  switch (mode) {
    case v1::THINKING_MODE_OFF:
      return text::ThinkingMode::kOff;
    case v1::THINKING_MODE_MODEL:
      return text::ThinkingMode::kModelDecides;
    default:
      return text::ThinkingMode::kForced;
  }
}

const char* PromptField(const v1::Prompt& prompt) {
  if (prompt.has_chat()) return "prompt.chat";
  return prompt.has_text() ? "prompt.text" : "prompt.token_ids.ids";
}

// "`field` `why`: this model's maximum …", which are the words by which clients of other servers
// know this error.
absl::Status TooLong(const char* field, const std::string& why, const step::Limits& limits) {
  const std::int64_t context = limits.context();
  const bool by_cache = context < limits.max_model_len;
  return rpc::WithMetadata(
      rpc::InvalidField(
          field, absl::StrCat(why, ": this model's maximum context length is ", context, " tokens",
                              by_cache ? ", as the KV cache holds no more" : "")),
      rpc::kContextTokens, absl::StrCat(context));
}

// Which ids are white space and nothing else.
std::shared_ptr<const std::vector<bool>> FindBlanks(const text::Tokenizer& tokenizer) {
  constexpr std::string_view kWhiteSpace = " \t\n\v\f\r";
  std::vector<bool> blanks(static_cast<std::size_t>(tokenizer.num_ids()));
  for (std::int32_t id = 0; id < tokenizer.num_ids(); ++id) {
    const std::string_view bytes = tokenizer.TokenBytes(id);
    const bool is_blank = bytes.find_first_not_of(kWhiteSpace) == bytes.npos;
    blanks[static_cast<std::size_t>(id)] = is_blank && !bytes.empty() && !tokenizer.IsAdded(id);
  }
  return std::make_shared<const std::vector<bool>>(std::move(blanks));
}

// A think-end id that is not to be drawn takes the place of a bias.
absl::Status CheckRoomToMask(const engine::Request& request) {
  const engine::Thinking& thinking = request.thinking;
  const bool masks = thinking.min_tokens > 0 && thinking.continue_ids.empty();
  if (!masks || std::ssize(request.logit_bias[step::Phase::kReasoning]) < step::kMaxLogitBiases) {
    return absl::OkStatus();
  }
  return rpc::InvalidField("thinking.continue_text",
                           absl::StrCat("may be empty where the reasoning has fewer than ",
                                        step::kMaxLogitBiases, " of logit_bias"));
}

}  // namespace

std::size_t RequestReader::Reading::bytes() const {
  const auto resumed = static_cast<std::size_t>(num_resumed_ids());
  return sizeof(Reading) + static_cast<std::size_t>(num_outputs) * bytes_of_output() +
         2 * resumed * sizeof(std::int32_t) + format_bytes;
}

std::size_t RequestReader::Reading::bytes_of_output() const {
  // The engine has the ids, and so has the stream until it has told them, or the engine again.
  std::size_t bytes = sizeof(Begun) + 2 * request.prompt_ids.size() * sizeof(std::int32_t);
  bytes += (request.thinking.closing_ids.size() + request.thinking.continue_ids.size()) *
           sizeof(std::int32_t);
  if (request.thinking.loops && request.thinking.loops->near_share) {
    bytes += kNearRepetitionWords * sizeof(std::uint32_t);
  }
  bytes += request.id.capacity() + request.cache_salt.capacity();
  for (const step::Phase phase : step::kPhases) {
    bytes += request.logit_bias[phase].size() * sizeof(step::LogitBias);
    bytes += request.stop_ids[phase].size() * sizeof(std::int32_t);
    // The stream has each for what it tells, and a matcher.
    for (const std::string& stop : output.stop_strings[phase]) bytes += sizeof(stop) + stop.size();
    bytes += text::StopMatcher::BytesOf(output.stop_strings[phase]);
  }
  return bytes;
}

std::int32_t RequestReader::Reading::num_to_run() const {
  return num_outputs - static_cast<std::int32_t>(std::ranges::count_if(
                           begun, [](const auto& one) { return one.second.events->finished(); }));
}

std::int32_t RequestReader::Reading::num_resumed_ids() const {
  std::int32_t ids = 0;
  for (const auto& [index, one] : begun) ids += std::ssize(one.request.drawn_ids);
  return ids;
}

RequestReader::RequestReader(const text::Tokenizer& tokenizer,
                             const text::ChatTemplate& chat_template, const ServedModel& model,
                             WorkerMetrics* metrics)
    : tokenizer_(tokenizer),
      chat_template_(chat_template),
      model_(model),
      blanks_(FindBlanks(tokenizer)),
      thinking_(tokenizer, model),
      formats_(std::make_unique<AnswerFormats>(tokenizer, model, metrics)) {}

absl::StatusOr<RequestReader::Reading> RequestReader::Read(const v1::GenerateRequest& request,
                                                           const v1::ResumeState* resume,
                                                           bool end_without_answer) const {
  Reading reading;
  engine::Request& out = reading.request;
  ASSIGN_OR_RETURN(out.prompt_ids, ReadPromptOf(request, resume));
  ASSIGN_OR_RETURN(reading.max_tokens, ReadMaxTokens(request, out.prompt_ids.size()));
  out.max_tokens = reading.max_tokens;
  const bool is_settled = resume != nullptr && resume->has_effective();
  ASSIGN_OR_RETURN(out.thinking, thinking_.Read(request, reading.max_tokens,
                                                is_settled ? &resume->effective() : nullptr));
  out.thinking.ends_unanswered = end_without_answer;
  ReadFirstPhase(reading);
  RETURN_IF_ERROR(ReadSamplings(request, reading));
  RETURN_IF_ERROR(CheckRoomToMask(out));
  out.sampling.seed = request.seed();
  out.sampling.think_end_id = tokenizer_.think_end_id().value_or(-1);
  out.ignore_eos = request.ignore_eos();
  out.tells_silence = request.progress();
  RETURN_IF_ERROR(ReadFormat(request, reading));
  out.cache_salt = request.cache_salt();
  if (request.has_n()) reading.num_outputs = request.n();
  if (resume == nullptr && request.require_resumable()) {
    RETURN_IF_ERROR(
        CheckResumable(std::ssize(out.prompt_ids), reading.num_outputs, reading.max_tokens));
  }
  if (resume != nullptr) RETURN_IF_ERROR(ReadOutputStates(*resume, tokenizer_, model_, reading));
  return reading;
}

absl::Status RequestReader::ReadFormat(const v1::GenerateRequest& request, Reading& reading) const {
  if (!request.has_answer_format()) return absl::OkStatus();
  ASSIGN_OR_RETURN(AnswerFormats::Format format, formats_->Read(request.answer_format()));
  reading.request.format = std::move(format.format);
  reading.format_bytes = format.bytes;
  // Before a JSON text they mean nothing.
  reading.output.keeps_line_feeds = !request.answer_format().has_json_schema();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::int32_t>> RequestReader::ReadPromptOf(
    const v1::GenerateRequest& request, const v1::ResumeState* resume) const {
  std::vector<std::int32_t> ids;
  if (resume != nullptr && !resume->prompt_ids().empty()) {
    ids.assign(resume->prompt_ids().begin(), resume->prompt_ids().end());
    RETURN_IF_ERROR(CheckIds("resume.prompt_ids", ids));
    return ids;
  }
  ASSIGN_OR_RETURN(ids, ReadPrompt(request.prompt(), request.thinking().mode()));
  if (resume == nullptr || std::ssize(ids) == resume->prompt_tokens()) return ids;
  return rpc::Error(absl::StatusCode::kFailedPrecondition, "PROMPT_DIFFERS",
                    absl::StrCat("the prompt has ", ids.size(), " tokens here, had ",
                                 resume->prompt_tokens(), " where the output began"));
}

void RequestReader::ReadFirstPhase(Reading& reading) const {
  engine::Request& out = reading.request;
  const auto first = text::FirstPhaseAfter(out.prompt_ids, tokenizer_.control_ids());
  const bool reasons = first == text::FirstPhase::kReasoning;
  out.start_phase = reasons ? step::Phase::kReasoning : step::Phase::kAnswer;
  reading.output.start_phase = out.start_phase;
  reading.output.is_undecided = first == text::FirstPhase::kUndecided;
  if (reading.output.is_undecided) {
    out.opening = {.think_begin_id = tokenizer_.think_begin_id().value_or(-1), .blanks = blanks_};
  }
}

absl::Status RequestReader::ReadSamplings(const v1::GenerateRequest& request,
                                          Reading& reading) const {
  const v1::PhaseSampling& both = request.sampling();
  // Before they are merged, so that the error names the field that was set.
  RETURN_IF_ERROR(CheckVocabulary(both, "sampling"));
  RETURN_IF_ERROR(ReadPhase(step::Phase::kReasoning,
                            rpc::InForce(both, request.reasoning_sampling()), "reasoning_sampling",
                            reading));
  return ReadPhase(step::Phase::kAnswer, rpc::InForce(both, request.answer_sampling()),
                   "answer_sampling", reading);
}

absl::Status RequestReader::CheckVocabulary(const v1::PhaseSampling& sampling,
                                            const char* field) const {
  RETURN_IF_ERROR(ReadStopIds(sampling, field).status());
  RETURN_IF_ERROR(ReadSampling(sampling, field).status());
  return ReadBiases(sampling, field).status();
}

absl::Status RequestReader::ReadPhase(step::Phase phase, const v1::PhaseSampling& sampling,
                                      const char* field, Reading& reading) const {
  engine::Request& out = reading.request;
  ASSIGN_OR_RETURN(out.stop_ids[phase], ReadStopIds(sampling, field));
  ASSIGN_OR_RETURN(out.sampling.phases[phase], ReadSampling(sampling, field));
  ASSIGN_OR_RETURN(out.logit_bias[phase], ReadBiases(sampling, field));
  // The engine need not know which phase wants how many: the first ones are the same.
  out.logprobs = out.logprobs || sampling.logprobs();
  out.alternatives = std::max(out.alternatives, sampling.top_logprobs());
  OutputEvents::Options& output = reading.output;
  output.stop_strings[phase] = {sampling.stop_strings().begin(), sampling.stop_strings().end()};
  output.logprobs[phase] = sampling.logprobs();
  output.alternatives[phase] = sampling.top_logprobs();
  output.token_bytes[phase] = sampling.token_bytes();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::int32_t>> RequestReader::ReadPrompt(const v1::Prompt& prompt,
                                                                    v1::ThinkingMode mode) const {
  std::vector<std::int32_t> ids;
  switch (prompt.kind_case()) {
    case v1::Prompt::kChat:
      return ReadChat(prompt.chat(), mode);
    case v1::Prompt::kText:
      ids = tokenizer_.Encode(prompt.text());
      if (ids.empty()) {
        return rpc::InvalidField("prompt.text", "holds nothing that the vocabulary knows");
      }
      RETURN_IF_ERROR(CheckRows("prompt.text", ids));
      return ids;
    case v1::Prompt::kTokenIds:
      ids.assign(prompt.token_ids().ids().begin(), prompt.token_ids().ids().end());
      RETURN_IF_ERROR(CheckIds("prompt.token_ids.ids", ids));
      return ids;
    case v1::Prompt::KIND_NOT_SET:
      break;
  }
  return rpc::InvalidField("prompt", "is required: one of chat, text, token_ids");
}

absl::Status RequestReader::CheckRows(const char* field,
                                      const std::vector<std::int32_t>& ids) const {
  for (const std::int32_t id : ids) {
    if (id < model_.limits.vocab_size) continue;
    return rpc::InvalidField(
        field, absl::StrCat("holds \"", ShownText(tokenizer_.TokenBytes(id)), "\", whose id ", id,
                            " has no row in the model, which has ", model_.limits.vocab_size));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::int32_t>> RequestReader::ReadChat(const v1::Chat& chat,
                                                                  v1::ThinkingMode mode) const {
  std::vector<text::ChatMessage> messages;
  for (const v1::ChatMessage& message : chat.messages()) {
    messages.push_back(ReadMessage(message));
    if (const absl::Status status = chat_template_.Check(messages.back()); !status.ok()) {
      return rpc::InvalidField(absl::StrCat("prompt.chat.messages[", messages.size() - 1, "]"),
                               std::string(status.message()));
    }
  }
  const bool continued = chat.continue_final_message();
  auto ids =
      chat_template_.Render(messages, continued ? text::ThinkingMode::kContinued : ReadMode(mode));
  if (!ids.ok()) return rpc::InvalidField("prompt.chat", std::string(ids.status().message()));
  RETURN_IF_ERROR(CheckRows("prompt.chat", *ids));
  return ids;
}

absl::StatusOr<std::int32_t> RequestReader::ReadMaxTokens(const v1::GenerateRequest& request,
                                                          std::size_t prompt_tokens) const {
  const std::int64_t context = model_.limits.context();
  const std::int64_t room = context - static_cast<std::int64_t>(prompt_tokens);
  if (room < 1) {
    return TooLong(
        PromptField(request.prompt()),
        absl::StrCat("comes to ", prompt_tokens, " tokens, which leaves none to generate"),
        model_.limits);
  }
  if (!request.has_max_tokens()) return static_cast<std::int32_t>(room);
  if (request.max_tokens() > room && request.clamp_max_tokens()) {
    return static_cast<std::int32_t>(room);
  }
  if (request.max_tokens() > room) {
    return TooLong("max_tokens",
                   absl::StrCat("of ", request.max_tokens(), " is too much with the ",
                                prompt_tokens, " tokens of the prompt"),
                   model_.limits);
  }
  return request.max_tokens();
}

absl::StatusOr<step::PhaseSampling> RequestReader::ReadSampling(const v1::PhaseSampling& sampling,
                                                                const char* field) const {
  step::PhaseSampling out = model_.sampling_defaults;
  if (sampling.has_temperature()) out.temperature = sampling.temperature();
  if (sampling.has_top_p()) out.top_p = sampling.top_p();
  if (sampling.has_min_p()) out.min_p = sampling.min_p();
  if (sampling.has_top_k()) out.top_k = sampling.top_k();
  if (out.top_k > model_.limits.vocab_size) {
    return rpc::InvalidField(absl::StrCat(field, ".top_k"),
                             absl::StrCat("must be in [0, ", model_.limits.vocab_size,
                                          "], the vocabulary of the model, is ", out.top_k));
  }
  if (sampling.has_repetition_penalty()) out.repetition_penalty = sampling.repetition_penalty();
  out.presence_penalty = sampling.presence_penalty();
  out.frequency_penalty = sampling.frequency_penalty();
  return out;
}

absl::StatusOr<std::vector<step::LogitBias>> RequestReader::ReadBiases(
    const v1::PhaseSampling& sampling, const char* field) const {
  std::vector<step::LogitBias> biases;
  for (const auto& [id, bias] : sampling.logit_bias()) {
    if (id < 0 || id >= model_.limits.vocab_size) {
      return rpc::InvalidField(absl::StrCat(field, ".logit_bias"),
                               absl::StrCat("must name ids in [0, ", model_.limits.vocab_size,
                                            "), the vocabulary of the model, names ", id));
    }
    biases.push_back({id, bias});
  }
  std::ranges::sort(biases, {}, &step::LogitBias::id);
  return biases;
}

absl::StatusOr<std::vector<std::int32_t>> RequestReader::ReadStopIds(
    const v1::PhaseSampling& sampling, const char* field) const {
  std::vector<std::int32_t> ids(sampling.stop_token_ids().begin(), sampling.stop_token_ids().end());
  RETURN_IF_ERROR(CheckIds(absl::StrCat(field, ".stop_token_ids"), ids));
  return ids;
}

absl::Status RequestReader::CheckIds(const std::string& field,
                                     const std::vector<std::int32_t>& ids) const {
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < model_.limits.vocab_size) continue;
    return rpc::InvalidField(absl::StrCat(field, "[", i, "]"),
                             absl::StrCat("must be in [0, ", model_.limits.vocab_size,
                                          "), the vocabulary of the model, is ", ids[i]));
  }
  return absl::OkStatus();
}

}  // namespace thinkwire::worker::serve
