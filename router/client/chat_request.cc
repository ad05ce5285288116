#include "router/client/chat_request.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "common/rpc/status_details.h"

namespace thinkwire::router::client {
namespace {

void SetSampling(const ChatOptions& options, v1::PhaseSampling* sampling) {
  if (options.temperature) sampling->set_temperature(*options.temperature);
  if (options.top_p) sampling->set_top_p(*options.top_p);
  if (options.top_k) sampling->set_top_k(*options.top_k);
  if (options.min_p) sampling->set_min_p(*options.min_p);
  if (options.repetition_penalty) sampling->set_repetition_penalty(*options.repetition_penalty);
  if (options.presence_penalty) sampling->set_presence_penalty(*options.presence_penalty);
  if (options.frequency_penalty) sampling->set_frequency_penalty(*options.frequency_penalty);
}

void SetFormat(const ChatOptions& options, v1::GenerateRequest& request) {
  if (!options.json_schema.empty()) {
    request.mutable_answer_format()->set_json_schema(options.json_schema);
  }
  if (!options.regex.empty()) request.mutable_answer_format()->set_regex(options.regex);
  for (const std::string& choice : options.choices) {
    request.mutable_answer_format()->mutable_choices()->add_choices(choice);
  }
}

// The option that has set a field of the request; empty: none.
std::string OptionOf(const std::string& field) {
  absl::string_view name = field;
  if (absl::ConsumePrefix(&name, "reasoning_sampling.") ||
      absl::ConsumePrefix(&name, "answer_sampling.")) {
    return absl::StartsWith(name, "stop_strings") ? "stop" : std::string(name);
  }
  if (absl::ConsumePrefix(&name, "answer_format.")) {
    return absl::StartsWith(name, "choices") ? "choices" : std::string(name);
  }
  if (name == "wishes.task") return "task";
  if (absl::StartsWith(name, "consensus")) return "consensus";
  if (name == "thinking.mode") return "thinking";
  if (name == "thinking.budget_tokens") return "budget";
  if (name == "thinking.budget_from_deadline") return "answer_in_time";
  if (name == "min_answer_tokens") return "min_answer";
  const bool same = name == "variant" || name == "max_tokens" || name == "seed" || name == "n" ||
                    name == "priority";
  return same ? std::string(name) : "";
}

}  // namespace

v1::GenerateRequest MakeRequest(const ChatOptions& options) {
  v1::GenerateRequest request;
  request.set_variant(options.variant);
  if (options.may_substitute) request.mutable_wishes()->set_may_substitute(true);
  for (int value = v1::Task_MIN; value <= v1::Task_MAX && !options.task.empty(); ++value) {
    const auto task = static_cast<v1::Task>(value);
    if (v1::Task_Name(task) == absl::StrCat("TASK_", absl::AsciiStrToUpper(options.task))) {
      request.mutable_wishes()->set_task(task);
    }
  }
  for (int value = v1::Priority_MIN; value <= v1::Priority_MAX && !options.priority.empty();
       ++value) {
    const auto priority = static_cast<v1::Priority>(value);
    if (v1::Priority_Name(priority) ==
        absl::StrCat("PRIORITY_", absl::AsciiStrToUpper(options.priority))) {
      request.set_priority(priority);
    }
  }
  if (options.consensus) request.mutable_consensus()->set_max_samples(*options.consensus);
  SetSampling(options, request.mutable_reasoning_sampling());
  SetSampling(options, request.mutable_answer_sampling());
  if (!options.stop.empty()) request.mutable_answer_sampling()->add_stop_strings(options.stop);
  if (options.seed) request.set_seed(*options.seed);
  if (options.max_tokens) request.set_max_tokens(*options.max_tokens);
  if (options.min_answer) request.set_min_answer_tokens(*options.min_answer);
  if (options.n) request.set_n(*options.n);
  if (options.budget) request.mutable_thinking()->set_budget_tokens(*options.budget);
  if (options.answer_in_time) request.mutable_thinking()->set_budget_from_deadline(true);
  request.set_progress(!options.json);
  SetFormat(options, request);
  if (!options.thinking) request.mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
  if (!options.system.empty()) {
    AddMessage(v1::ROLE_SYSTEM, options.system, *request.mutable_prompt()->mutable_chat());
  }
  return request;
}

void AddMessage(v1::Role role, const std::string& content, v1::Chat& chat) {
  v1::ChatMessage& message = *chat.add_messages();
  message.set_role(role);
  message.set_content(content);
}

std::string InWordsOfOptions(const absl::Status& status) {
  const std::string field = rpc::ErrorMetadata(status, "field");
  const std::string option = OptionOf(field);
  const absl::string_view message = status.message();
  if (option.empty() || !absl::StartsWith(message, field)) return std::string(message);
  return absl::StrCat("--", option, message.substr(field.size()));
}

}  // namespace thinkwire::router::client
