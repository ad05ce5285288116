#include "router/http/request_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/json.h"
#include "common/rpc/status_details.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "common/strings.h"
#include "router/http/fields.h"
#include "router/http/http_limits.h"

namespace thinkwire::router::http {
namespace {

constexpr std::size_t kMaxIgnored = 16;  // that are named

// What the fields have said of thinking, once all of them are known. Tokens go before an effort.
void SettleThinking(Reading& reading) {
  v1::GenerateRequest& request = reading.request();
  if (!reading.thinks.value_or(true)) {
    request.mutable_thinking()->set_mode(v1::THINKING_MODE_OFF);
    return;
  }
  if (const auto budget = reading.budget ? reading.budget : reading.of_effort) {
    request.mutable_thinking()->set_budget_tokens(*budget);
  }
}

// Clients of the other APIs look for the reasoning in one place.
void SettleForm(Reading& reading) {
  ReplyForm& form = reading.asked.form;
  if (form.dialect != Dialect::kOpenAi) return;
  if (!reading.shows_reasoning.value_or(true)) reading.form = ReasoningForm::kHidden;
  if (!reading.form) form.by_variant = &reading.options.reasoning;
  form.reasoning = reading.form.value_or(form.reasoning);
}

// A key says more about what prompts have in common than who asks does.
void SettleSalt(Reading& reading) {
  const std::string& salt =
      reading.salt_of_key.empty() ? reading.salt_of_user : reading.salt_of_key;
  reading.request().set_cache_salt(salt);
}

void AddMessage(v1::Role role, std::string text, v1::Chat& chat) {
  v1::ChatMessage& message = *chat.add_messages();
  message.set_role(role);
  message.set_content(std::move(text));
}

// What of a message is the system text; its tool calls, which are none's but the assistant's, are
// refused where it stands.
bool IsSystemText(const v1::ChatMessage& message) {
  return message.role() == v1::ROLE_SYSTEM && message.tool_calls().empty();
}

void AddParagraph(const std::string& text, std::string& all) {
  if (!all.empty() && !text.empty()) all += "\n\n";
  all += text;
}

// Instructions beside the messages and system messages, wherever they stand, are one system message
// in front of the others. So has R1's published template them, which knows no other place for them;
// the distills' shows the last one alone, and nobody who sends two means that.
void SettleSystem(Reading& reading) {
  if (!reading.request().prompt().has_chat()) return;
  v1::Chat& chat = *reading.request().mutable_prompt()->mutable_chat();
  std::vector<int>& item_of = reading.asked.item_of;
  if (item_of.empty()) {
    item_of.resize(static_cast<std::size_t>(chat.messages_size()));
    std::iota(item_of.begin(), item_of.end(), 0);
  }
  const bool has_text = std::any_of(chat.messages().begin(), chat.messages().end(), IsSystemText);
  if (!has_text && reading.system.empty()) return;
  v1::Chat settled;
  // Nothing about a text can be wrong, so that it matters little which item it is said to be.
  std::vector<int> items = {0};
  AddMessage(v1::ROLE_SYSTEM, std::move(reading.system), settled);
  for (int i = 0; i < chat.messages_size(); ++i) {
    v1::ChatMessage& message = *chat.mutable_messages(i);
    if (IsSystemText(message)) {
      AddParagraph(message.content(), *settled.mutable_messages(0)->mutable_content());
    } else {
      settled.add_messages()->Swap(&message);
      items.push_back(item_of[static_cast<std::size_t>(i)]);
    }
  }
  chat.mutable_messages()->Swap(settled.mutable_messages());
  item_of = std::move(items);
}

// Of a request without messages: one of them, or the prompt as it stands.
void SettlePrompt(Reading& reading) {
  v1::GenerateRequest& request = reading.request();
  if (reading.prompt.empty()) return;
  if (reading.raw) {
    reading.asked.form.chat = false;
    request.mutable_prompt()->set_text(std::move(reading.prompt));
    reading.sampling().mutable_stop_strings()->Swap(
        request.mutable_answer_sampling()->mutable_stop_strings());
    return;
  }
  v1::Chat& chat = *request.mutable_prompt()->mutable_chat();
  AddMessage(v1::ROLE_USER, std::move(reading.prompt), chat);
}

absl::Status CheckIgnored(const Asked& asked, bool strict) {
  if (!strict || asked.ignored.empty()) return absl::OkStatus();
  return rpc::InvalidField(asked.ignored.front(), "is not known here, and this server is strict");
}

// One endpoint's fields, and how it answers where they say nothing.
struct Endpoint {
  std::span<const Field> common;
  std::span<const Field> own;
  ReplyForm form;
  const char* prompt;  // the field that has it
};

absl::StatusOr<Asked> Read(std::string_view body, const ReaderOptions& options,
                           const Endpoint& endpoint) {
  ASSIGN_OR_RETURN(
      const Json document,
      ParseJson(body, "the body", {.max_bytes = kMaxBodyBytes, .max_values = kMaxBodyValues}));
  if (!document.is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
  std::vector<Field> fields(endpoint.own.begin(), endpoint.own.end());
  fields.insert(fields.end(), endpoint.common.begin(), endpoint.common.end());
  Reading reading{.options = options, .body = body};
  reading.asked.form = endpoint.form;
  if (!document.contains("model") || document["model"].is_null()) {
    return rpc::InvalidField("model", "is required; \"auto\" has the router choose");
  }
  RETURN_IF_ERROR(ReadMembers(document, "", fields, reading));
  SettlePrompt(reading);
  SettleSystem(reading);
  if (!reading.request().has_prompt()) return rpc::InvalidField(endpoint.prompt, "is required");
  RETURN_IF_ERROR(CheckIgnored(reading.asked, options.strict));
  if (const auto& most = reading.max_completion_tokens) reading.request().set_max_tokens(*most);
  SettleThinking(reading);
  SettleForm(reading);
  SettleSalt(reading);
  return std::move(reading.asked);
}

// Ollama streams unless it is told not to.
absl::StatusOr<Asked> ReadOllama(std::string_view body, const ReaderOptions& options, bool chat) {
  return Read(body, options,
              {.common = OllamaCommonFields(),
               .own = chat ? OllamaChatFields() : OllamaGenerateFields(),
               .form = {.dialect = Dialect::kOllama, .message = chat, .stream = true},
               .prompt = chat ? "messages" : "prompt"});
}

}  // namespace

absl::StatusOr<Asked> ReadChatRequest(std::string_view body, const ReaderOptions& options) {
  return Read(body, options,
              {.common = CommonFields(), .own = ChatFields(), .form = {}, .prompt = "messages"});
}

absl::StatusOr<Asked> ReadCompletionRequest(std::string_view body, const ReaderOptions& options) {
  return Read(body, options,
              {.common = CommonFields(),
               .own = CompletionFields(),
               .form = {.chat = false},
               .prompt = "prompt"});
}

absl::StatusOr<Asked> ReadResponsesRequest(std::string_view body, const ReaderOptions& options) {
  return Read(body, options,
              {.common = {},
               .own = ResponsesFields(),
               .form = {.dialect = Dialect::kResponses},
               .prompt = "input"});
}

absl::StatusOr<Asked> ReadOllamaChat(std::string_view body, const ReaderOptions& options) {
  return ReadOllama(body, options, /*chat=*/true);
}

absl::StatusOr<Asked> ReadOllamaGenerate(std::string_view body, const ReaderOptions& options) {
  return ReadOllama(body, options, /*chat=*/false);
}

absl::StatusOr<bool> ReadBool(const Json& value, const std::string& name) {
  if (!value.is_boolean()) return rpc::InvalidField(name, "must be true or false");
  return value.get<bool>();
}

absl::StatusOr<double> ReadNumber(const Json& value, const std::string& name) {
  if (!value.is_number()) return rpc::InvalidField(name, "must be a number");
  return value.get<double>();
}

absl::StatusOr<std::int32_t> ReadInt(const Json& value, const std::string& name) {
  constexpr std::int32_t kLow = std::numeric_limits<std::int32_t>::min();
  constexpr std::int32_t kHigh = std::numeric_limits<std::int32_t>::max();
  // Whole whichever way it is written: to JSON 4.0 and 4e0 are 4. All that fits is exact here.
  const double number = value.is_number() ? value.get<double>() : 0.5;
  if (std::trunc(number) != number) return rpc::InvalidField(name, "must be a whole number");
  if (number < kLow || number > kHigh) {
    return rpc::InvalidField(name, absl::StrCat("must be between ", kLow, " and ", kHigh));
  }
  return static_cast<std::int32_t>(number);
}

absl::StatusOr<std::string> ReadText(const Json& value, const std::string& name) {
  if (!value.is_string()) return rpc::InvalidField(name, "must be a string");
  return value.get<std::string>();
}

absl::Status CheckObject(const Json& value, const std::string& name) {
  if (value.is_object()) return absl::OkStatus();
  return rpc::InvalidField(name, "must be a JSON object");
}

absl::Status ReadMembers(const Json& object, const std::string& path, std::span<const Field> fields,
                         Reading& reading) {
  for (const auto& [key, value] : object.items()) {
    if (value.is_null()) continue;
    const Field* known = nullptr;
    for (const Field& field : fields) {
      if (field.name == key) known = &field;
    }
    if (known != nullptr) {
      RETURN_IF_ERROR(known->read(value, path + key, reading));
    } else if (reading.asked.ignored.size() < kMaxIgnored) {
      reading.asked.ignored.push_back(path + ShownText(key, kMaxIgnoredBytes));
    }
  }
  return absl::OkStatus();
}

}  // namespace thinkwire::router::http
