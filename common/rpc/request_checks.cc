#include "common/rpc/request_checks.h"

#include <cstdint>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/clock.h"
#include "common/input_limits.h"
#include "common/peer_limits.h"
#include "common/rpc/phase_sampling.h"
#include "common/rpc/proto_time.h"
#include "common/rpc/range_check.h"
#include "common/rpc/resume_checks.h"
#include "common/rpc/status_details.h"
#include "common/rpc/thinking_checks.h"
#include "common/status.h"
#include "thinkwire/v1/reasoning.pb.h"
#include "thinkwire/v1/worker.pb.h"

namespace thinkwire::rpc {
namespace {

constexpr std::size_t kMaxRequestIdBytes = 128;
constexpr std::size_t kMaxStopStringBytes = 256;
constexpr int kMaxTopLogprobs = 20;
constexpr double kMaxCost = 1e12;
constexpr std::size_t kMaxCacheSaltBytes = 256;

absl::Status CheckToolCalls(const v1::ChatMessage& message, const std::string& path) {
  if (!message.tool_calls().empty() && message.role() != v1::ROLE_ASSISTANT) {
    return InvalidField(path + ".tool_calls", "may stand in messages of the assistant only");
  }
  for (int i = 0; i < message.tool_calls_size(); ++i) {
    if (!message.tool_calls(i).name().empty()) continue;
    return InvalidField(absl::StrCat(path, ".tool_calls[", i, "].name"), "is required");
  }
  return absl::OkStatus();
}

absl::Status CheckLastMessage(const v1::Chat& chat) {
  const v1::ChatMessage& last = *chat.messages().rbegin();
  if (chat.continue_final_message()) {
    if (last.role() == v1::ROLE_ASSISTANT && last.tool_calls().empty()) return absl::OkStatus();
    return InvalidField("prompt.chat.continue_final_message",
                        "goes with a last message of the assistant, without tool calls");
  }
  if (last.role() == v1::ROLE_USER || last.role() == v1::ROLE_TOOL) return absl::OkStatus();
  return InvalidField("prompt.chat.messages",
                      "must end with a message of the user or of a tool; continue_final_message "
                      "goes on with one of the assistant");
}

absl::Status CheckChat(const v1::Chat& chat) {
  if (chat.messages().empty()) {
    return InvalidField("prompt.chat.messages", "must not be empty");
  }
  for (int i = 0; i < chat.messages_size(); ++i) {
    const std::string path = absl::StrCat("prompt.chat.messages[", i, "]");
    const v1::Role role = chat.messages(i).role();
    if (role == v1::ROLE_UNSPECIFIED) return InvalidField(path + ".role", "is required");
    if (role == v1::ROLE_SYSTEM && i > 0) {
      return InvalidField(path + ".role", "may be ROLE_SYSTEM in the first message only");
    }
    RETURN_IF_ERROR(CheckToolCalls(chat.messages(i), path));
  }
  return CheckLastMessage(chat);
}

absl::Status CheckPrompt(const v1::Prompt& prompt, const std::string& variant) {
  switch (prompt.kind_case()) {
    case v1::Prompt::kChat:
      return CheckChat(prompt.chat());
    case v1::Prompt::kText:
      if (prompt.text().empty()) return InvalidField("prompt.text", "must not be empty");
      return absl::OkStatus();
    case v1::Prompt::kTokenIds:
      if (prompt.token_ids().ids().empty()) {
        return InvalidField("prompt.token_ids.ids", "must not be empty");
      }
      if (variant.empty()) {
        return InvalidField("variant",
                            "is required with prompt.token_ids: ids mean something for "
                            "one vocabulary only");
      }
      return absl::OkStatus();
    case v1::Prompt::KIND_NOT_SET:
      break;
  }
  return InvalidField("prompt", "is required: one of chat, text, token_ids");
}

// The first wish that only a router which chooses can heed; empty: there is none.
std::string ChoosersWish(const v1::Wishes& wishes) {
  if (wishes.task() != v1::TASK_UNSPECIFIED) return "wishes.task";
  if (wishes.has_quality()) return "wishes.quality";
  if (wishes.has_latency()) return "wishes.latency";
  if (wishes.has_max_cost()) return "wishes.max_cost";
  return "";
}

absl::Status CheckWishes(const v1::Wishes& wishes, const std::string& variant) {
  if (const std::string wish = ChoosersWish(wishes);
      !variant.empty() && !wishes.may_substitute() && !wish.empty()) {
    return InvalidField(wish, "must be unset when variant is set and may_substitute is not");
  }
  RETURN_IF_ERROR(CheckRange("wishes.quality", wishes.quality(), 0, 1));
  RETURN_IF_ERROR(CheckRange("wishes.max_cost", wishes.max_cost(), 0, kMaxCost));
  if (wishes.has_latency() && !(ReadDuration(wishes.latency()) > Clock::Duration::zero())) {
    return InvalidField("wishes.latency", "must be more than 0");
  }
  return absl::OkStatus();
}

absl::Status CheckAdjustments(const v1::PhaseSampling& sampling, const std::string& path) {
  if (sampling.has_repetition_penalty()) {
    RETURN_IF_ERROR(CheckRange(path + ".repetition_penalty", sampling.repetition_penalty(), 0, 2,
                               /*low_open=*/true));
  }
  RETURN_IF_ERROR(CheckRange(path + ".presence_penalty", sampling.presence_penalty(), -2, 2));
  RETURN_IF_ERROR(CheckRange(path + ".frequency_penalty", sampling.frequency_penalty(), -2, 2));
  if (std::ssize(sampling.logit_bias()) > kMaxLogitBiases) {
    return InvalidField(path + ".logit_bias",
                        absl::StrCat("may hold at most ", kMaxLogitBiases, " ids, holds ",
                                     sampling.logit_bias().size()));
  }
  for (const auto& [id, bias] : sampling.logit_bias()) {
    RETURN_IF_ERROR(CheckRange(absl::StrCat(path, ".logit_bias[", id, "]"), bias, -100, 100));
  }
  return absl::OkStatus();
}

absl::Status CheckStops(const v1::PhaseSampling& sampling, const std::string& path) {
  if (sampling.stop_token_ids_size() > kMaxStopTokenIds) {
    return InvalidField(path + ".stop_token_ids",
                        absl::StrCat("may hold at most ", kMaxStopTokenIds, " ids, holds ",
                                     sampling.stop_token_ids_size()));
  }
  if (sampling.stop_strings_size() > kMaxStopStrings) {
    return InvalidField(path + ".stop_strings",
                        absl::StrCat("may hold at most ", kMaxStopStrings, " texts, holds ",
                                     sampling.stop_strings_size()));
  }
  for (int i = 0; i < sampling.stop_strings_size(); ++i) {
    const std::size_t size = sampling.stop_strings(i).size();
    if (size < 1 || size > kMaxStopStringBytes) {
      return InvalidField(
          absl::StrCat(path, ".stop_strings[", i, "]"),
          absl::StrCat("must be 1 to ", kMaxStopStringBytes, " bytes long, is ", size));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckSampling(const v1::PhaseSampling& sampling, const std::string& path) {
  RETURN_IF_ERROR(CheckAdjustments(sampling, path));
  if (sampling.has_temperature()) {
    RETURN_IF_ERROR(CheckRange(path + ".temperature", sampling.temperature(), 0, 2));
  }
  if (sampling.has_top_p()) {
    RETURN_IF_ERROR(CheckRange(path + ".top_p", sampling.top_p(), 0, 1, /*low_open=*/true));
  }
  if (sampling.has_min_p()) {
    RETURN_IF_ERROR(CheckRange(path + ".min_p", sampling.min_p(), 0, 1));
  }
  if (sampling.has_top_k() && sampling.top_k() < 0) {
    return InvalidField(path + ".top_k",
                        absl::StrCat("must not be negative, is ", sampling.top_k()));
  }
  RETURN_IF_ERROR(CheckRange(path + ".top_logprobs", sampling.top_logprobs(), 0, kMaxTopLogprobs));
  return CheckStops(sampling, path);
}

// Of one phase: `both` but for what `own`, in `path`, says otherwise.
absl::Status CheckPhase(const v1::PhaseSampling& both, const v1::PhaseSampling& own,
                        const std::string& path) {
  RETURN_IF_ERROR(CheckSampling(own, path));
  const v1::PhaseSampling merged = InForce(both, own);
  if (merged.logprobs()) return absl::OkStatus();
  if (merged.token_bytes()) {
    return InvalidField((own.has_token_bytes() ? path : "sampling") + ".token_bytes",
                        "needs logprobs");
  }
  if (merged.top_logprobs() <= 0) return absl::OkStatus();
  return InvalidField((own.has_top_logprobs() ? path : "sampling") + ".top_logprobs",
                      "needs logprobs");
}

absl::Status CheckSamplings(const v1::GenerateRequest& request) {
  const v1::PhaseSampling& both = request.sampling();
  RETURN_IF_ERROR(CheckSampling(both, "sampling"));
  RETURN_IF_ERROR(CheckPhase(both, request.reasoning_sampling(), "reasoning_sampling"));
  return CheckPhase(both, request.answer_sampling(), "answer_sampling");
}

absl::Status CheckMode(v1::ThinkingMode mode, const v1::Prompt& prompt, const std::string& field) {
  if (mode != v1::THINKING_MODE_UNSPECIFIED && !prompt.has_chat()) {
    return InvalidField(field,
                        "goes with prompt.chat only: other prompts say themselves whether "
                        "thinking is open");
  }
  if (mode != v1::THINKING_MODE_UNSPECIFIED && prompt.chat().continue_final_message()) {
    return InvalidField(field,
                        "must be unset with continue_final_message: the text itself says whether "
                        "thinking is open");
  }
  return absl::OkStatus();
}

absl::Status CheckLengths(const v1::GenerateRequest& request) {
  if (request.has_max_tokens() && request.max_tokens() < 1) {
    return InvalidField("max_tokens", absl::StrCat("must be at least 1, is ", request.max_tokens(),
                                                   "; leave it unset for the rest of the context"));
  }
  if (request.has_min_answer_tokens()) {
    const int64_t high = request.has_max_tokens() ? request.max_tokens() : INT32_MAX;
    RETURN_IF_ERROR(
        CheckRange("min_answer_tokens", request.min_answer_tokens(), 0, static_cast<double>(high)));
  }
  if (request.has_n()) {
    RETURN_IF_ERROR(CheckRange("n", request.n(), 1, kMaxOutputs));
  }
  return absl::OkStatus();
}

absl::Status CheckChoices(const v1::Choices& choices) {
  std::set<std::string> different;
  for (int i = 0; i < choices.choices_size(); ++i) {
    const std::string& choice = choices.choices(i);
    if (choice.empty() || choice.size() > kMaxChoiceBytes) {
      return InvalidField(
          absl::StrCat("answer_format.choices.choices[", i, "]"),
          absl::StrCat("must be 1 to ", kMaxChoiceBytes, " bytes long, is ", choice.size()));
    }
    different.insert(choice);
  }
  if (different.size() >= 2) return absl::OkStatus();
  return InvalidField("answer_format.choices.choices", "must hold at least two different ones");
}

absl::Status CheckFormatText(const char* field, const std::string& text, std::size_t most) {
  if (!text.empty() && text.size() <= most) return absl::OkStatus();
  return InvalidField(field, absl::StrCat("must be 1 to ", most, " bytes long, is ", text.size()));
}

// What a worker alone can say, it says: whether the text is a format that is supported.
absl::Status CheckAnswerFormat(const v1::GenerateRequest& request) {
  if (!request.has_answer_format()) return absl::OkStatus();
  if (request.ignore_eos()) {
    return InvalidField("ignore_eos",
                        "must be unset with answer_format: nothing follows an answer "
                        "that is complete");
  }
  const v1::AnswerFormat& format = request.answer_format();
  switch (format.kind_case()) {
    case v1::AnswerFormat::kJsonSchema:
      return CheckFormatText("answer_format.json_schema", format.json_schema(), kMaxSchemaBytes);
    case v1::AnswerFormat::kRegex:
      return CheckFormatText("answer_format.regex", format.regex(), kMaxPatternBytes);
    case v1::AnswerFormat::kChoices:
      return CheckChoices(format.choices());
    case v1::AnswerFormat::KIND_NOT_SET:
      break;
  }
  return InvalidField("answer_format", "needs one of json_schema, regex, choices");
}

absl::Status CheckConsensus(const v1::GenerateRequest& request) {
  if (!request.has_consensus()) return absl::OkStatus();
  const v1::Consensus& consensus = request.consensus();
  RETURN_IF_ERROR(CheckRange("consensus.max_samples", consensus.max_samples(), 2, kMaxOutputs));
  if (consensus.has_agreement()) {
    RETURN_IF_ERROR(
        CheckRange("consensus.agreement", consensus.agreement(), 0, 1, /*low_open=*/true));
  }
  if (request.has_n()) {
    return InvalidField("n",
                        "must be unset with consensus, whose max_samples says how many outputs "
                        "are drawn");
  }
  if (!request.has_resume()) return absl::OkStatus();
  return InvalidField("resume",
                      "must be unset with consensus: no stream tells what a vote would go on from");
}

// All but the prompt, and the thinking mode, which goes with it.
absl::Status CheckOptions(const v1::GenerateRequest& request) {
  RETURN_IF_ERROR(CheckWishes(request.wishes(), request.variant()));
  RETURN_IF_ERROR(CheckSamplings(request));
  RETURN_IF_ERROR(CheckThinking(request));
  RETURN_IF_ERROR(CheckLengths(request));
  RETURN_IF_ERROR(CheckConsensus(request));
  RETURN_IF_ERROR(CheckAnswerFormat(request));
  if (request.cache_salt().size() > kMaxCacheSaltBytes) {
    return InvalidField("cache_salt",
                        absl::StrCat("must be at most ", kMaxCacheSaltBytes, " bytes long, is ",
                                     request.cache_salt().size()));
  }
  return absl::OkStatus();
}

// A state's ids stand for a prompt that is left out.
absl::Status CheckPromptOrIds(const v1::GenerateRequest& request, const v1::ResumeState& state) {
  if (!state.prompt_ids().empty() && !request.has_prompt()) return absl::OkStatus();
  RETURN_IF_ERROR(CheckPrompt(request.prompt(), request.variant()));
  return CheckMode(request.thinking().mode(), request.prompt(), "thinking.mode");
}

absl::Status CheckRequestId(const std::string& id) {
  if (!id.empty() && id.size() <= kMaxRequestIdBytes) return absl::OkStatus();
  return InvalidField("request_id", absl::StrCat("must be 1 to ", kMaxRequestIdBytes,
                                                 " bytes long, is ", id.size()));
}

}  // namespace

absl::Status CheckRequest(const v1::GenerateRequest& request) {
  RETURN_IF_ERROR(CheckBuilt(request.resume()));
  if (request.has_resume()) {
    if (request.variant().empty()) {
      return InvalidField("variant",
                          "is required with resume: ids mean something for one vocabulary only");
    }
    RETURN_IF_ERROR(CheckResume(request.resume(), request));
  }
  RETURN_IF_ERROR(CheckPromptOrIds(request, request.resume()));
  return CheckOptions(request);
}

absl::Status CheckRequest(const v1::CountTokensRequest& request) {
  RETURN_IF_ERROR(CheckPrompt(request.prompt(), request.variant()));
  RETURN_IF_ERROR(CheckWishes(request.wishes(), request.variant()));
  return CheckMode(request.thinking_mode(), request.prompt(), "thinking_mode");
}

absl::Status CheckRequest(const v1::WorkerGenerateRequest& request) {
  if (!request.has_request()) return InvalidField("request", "is required");
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  if (request.attempt() < 1) {
    return InvalidField("attempt", absl::StrCat("must be at least 1, is ", request.attempt()));
  }
  if (!request.request().has_seed()) return InvalidField("request.seed", "is required");
  if (request.request().has_resume()) {
    return InvalidField("request.resume", "is for routers: a worker's stands beside the request");
  }
  if (request.request().has_consensus()) {
    return InvalidField("request.consensus",
                        "is for routers: a worker is asked for n outputs, and does not hear of a "
                        "vote");
  }
  RETURN_IF_ERROR(CheckBuilt(request.resume()));
  if (request.has_resume()) {
    RETURN_IF_ERROR(CheckResume(request.resume(), request.request()));
  }
  RETURN_IF_ERROR(CheckPromptOrIds(request.request(), request.resume()));
  return CheckOptions(request.request());
}

absl::Status CheckRequest(const v1::AnswerNowRequest& request) {
  RETURN_IF_ERROR(CheckRequestId(request.request_id()));
  if (!request.has_output_index()) return absl::OkStatus();
  return CheckRange("output_index", request.output_index(), 0, kMaxOutputs - 1);
}

}  // namespace thinkwire::rpc
