// The fields of requests of OpenAI's Responses API, a line each, and the items of their input.

#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/peer_limits.h"
#include "common/rpc/status_details.h"
#include "common/shown_text.h"
#include "common/status.h"
#include "router/http/fields.h"
#include "router/http/raw_json.h"
#include "router/http/shared_fields.h"

namespace thinkwire::router::http {
namespace {

using read::CacheKey;
using read::Ignore;
using read::Sampled;
using read::Unbuilt;
using read::User;
using read::Whole;
using rpc::InvalidField;

constexpr char kStateless[] =
    "is not served: no answer is kept here, so send the earlier items as input";

std::string TypeOf(const Json& item) {
  const Json type = item.value("type", Json());
  return type.is_string() ? type.get<std::string>() : "";
}

// A call that the model made in an earlier turn.
absl::Status AddCall(const Json& item, const std::string& path, v1::ChatMessage* added) {
  added->set_role(v1::ROLE_ASSISTANT);
  v1::ToolCall& call = *added->add_tool_calls();
  ASSIGN_OR_RETURN(*call.mutable_name(), ReadText(item.value("name", Json()), path + ".name"));
  ASSIGN_OR_RETURN(*call.mutable_arguments(),
                   ReadText(item.value("arguments", Json("")), path + ".arguments"));
  return absl::OkStatus();
}

// What came of it: a message whose content is its output.
absl::Status AddCallOutput(const Json& item, const std::string& path, v1::ChatMessage* added) {
  std::int64_t num_calls = 0;
  const Json message = {{"role", "tool"}, {"content", item.value("output", Json())}};
  return ReadMessage(message, path, &num_calls, added);
}

// An item makes a message, but for reasoning of earlier turns, which the template has no place for.
absl::Status AddItem(const Json& item, const std::string& path, std::int64_t* num_calls,
                     v1::Chat& chat) {
  RETURN_IF_ERROR(CheckObject(item, path));
  const std::string type = TypeOf(item);
  if (type == "reasoning") return absl::OkStatus();
  if (type == "item_reference") return InvalidField(path, kStateless);
  if (type == "function_call_output") return AddCallOutput(item, path, chat.add_messages());
  if (type == "function_call") {
    if (++*num_calls > kMaxElements) {
      return InvalidField(path, absl::StrCat("is one of more than ", kMaxElements, " calls"));
    }
    return AddCall(item, path, chat.add_messages());
  }
  if (!type.empty() && type != "message") {
    return InvalidField(path + ".type",
                        absl::StrCat("is \"", ShownText(type),
                                     "\", must be message, reasoning, function_call or "
                                     "function_call_output"));
  }
  return ReadMessage(item, path, num_calls, chat.add_messages());
}

absl::Status Input(const Json& value, const std::string& name, Reading& reading) {
  if (!value.is_string() && !value.is_array()) {
    return InvalidField(name, "must be a string or a list of items");
  }
  v1::Chat& chat = *reading.request().mutable_prompt()->mutable_chat();
  if (value.is_string()) {
    v1::ChatMessage& message = *chat.add_messages();
    message.set_role(v1::ROLE_USER);
    message.set_content(value.get<std::string>());
    reading.asked.item_of = {0};
    return absl::OkStatus();
  }
  if (value.size() > static_cast<std::size_t>(kMaxMessages)) {
    return InvalidField(
        name, absl::StrCat("may hold at most ", kMaxMessages, " items, holds ", value.size()));
  }
  std::int64_t num_calls = 0;
  for (std::size_t i = 0; i < value.size(); ++i) {
    RETURN_IF_ERROR(AddItem(value[i], absl::StrCat(name, "[", i, "]"), &num_calls, chat));
    reading.asked.item_of.resize(static_cast<std::size_t>(chat.messages_size()),
                                 static_cast<int>(i));
  }
  return absl::OkStatus();
}

absl::Status Instructions(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.system, ReadText(value, name));
  return absl::OkStatus();
}

// Of the answer alone: the reasoning's have no place in a response.
void AskForAnswerLogprobs(Reading& reading) {
  read::AskForLogprobs(reading);
  reading.request().mutable_reasoning_sampling()->set_logprobs(false);
}

absl::Status TopLogprobs(const Json& value, const std::string& name, Reading& reading) {
  RETURN_IF_ERROR(read::TopLogprobs(value, name, reading));
  if (reading.sampling().top_logprobs() > 0) AskForAnswerLogprobs(reading);
  return absl::OkStatus();
}

// Of what clients may ask to have besides, the answer's log-probabilities are all that there is.
absl::Status Include(const Json& value, const std::string& name, Reading& reading) {
  if (!value.is_array()) return InvalidField(name, "must be a list");
  for (const Json& wanted : value) {
    if (wanted == "message.output_text.logprobs") AskForAnswerLogprobs(reading);
  }
  return absl::OkStatus();
}

absl::Status Summary(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::string summary, ReadText(value, name));
  if (summary != "auto" && summary != "concise" && summary != "detailed") {
    return InvalidField(name, "must be auto, concise or detailed");
  }
  reading.asked.form.summary = true;
  return absl::OkStatus();
}

absl::Status Reasoning(const Json& value, const std::string& name, Reading& reading) {
  static constexpr Field kFields[] = {{"effort", read::Effort},
                                      {"max_tokens", read::Budget},
                                      {"enabled", read::Thinks},
                                      {"summary", Summary},
                                      {"generate_summary", Summary}};
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kFields, reading);
}

// The schema's own text, as answers keep the order of its properties.
absl::Status Format(const Json& value, const std::string& name, Reading& reading) {
  RETURN_IF_ERROR(CheckObject(value, name));
  const std::string type = TypeOf(value);
  if (type == "text") return absl::OkStatus();
  if (type == "json_object") {
    reading.request().mutable_answer_format()->set_json_schema(read::kAnyObject);
    return absl::OkStatus();
  }
  if (type != "json_schema") {
    return InvalidField(name + ".type", "must be text, json_object or json_schema");
  }
  const std::string_view schema = RawMember(reading.body, {"text", "format", "schema"});
  if (schema.empty()) return InvalidField(name + ".schema", "is required");
  reading.request().mutable_answer_format()->set_json_schema(std::string(schema));
  return absl::OkStatus();
}

absl::Status Text(const Json& value, const std::string& name, Reading& reading) {
  static constexpr Field kFields[] = {{"format", Format}, {"verbosity", Ignore}};
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kFields, reading);
}

// What would need an answer that was kept.
absl::Status Kept(const Json& /*value*/, const std::string& name, Reading& /*reading*/) {
  return InvalidField(name, kStateless);
}

absl::Status Store(const Json& value, const std::string& name, Reading& /*reading*/) {
  ASSIGN_OR_RETURN(const bool stores, ReadBool(value, name));
  if (!stores) return absl::OkStatus();
  return InvalidField(name, "must be false or left out: no answer is kept here");
}

absl::Status Truncation(const Json& value, const std::string& name, Reading& /*reading*/) {
  return value == "disabled" ? absl::OkStatus() : rpc::UnimplementedField(name);
}

constexpr Field kFields[] = {
    {"model", read::Model},
    {"input", Input},
    {"instructions", Instructions},
    {"stream", read::Stream},
    {"stream_options", Ignore},
    {"temperature", Sampled<&v1::PhaseSampling::set_temperature>},
    {"top_p", Sampled<&v1::PhaseSampling::set_top_p>},
    {"min_p", Sampled<&v1::PhaseSampling::set_min_p>},
    {"top_k", read::TopK},
    {"repetition_penalty", Sampled<&v1::PhaseSampling::set_repetition_penalty>},
    {"presence_penalty", Sampled<&v1::PhaseSampling::set_presence_penalty>},
    {"frequency_penalty", Sampled<&v1::PhaseSampling::set_frequency_penalty>},
    {"stop", read::Stop},
    {"seed", read::Seed},
    {"max_output_tokens", Whole<&v1::GenerateRequest::set_max_tokens>},
    {"reasoning", Reasoning},
    {"thinking_token_budget", read::Budget},
    {"text", Text},
    {"include", Include},
    {"top_logprobs", TopLogprobs},
    {"user", User},
    {"safety_identifier", User},
    {"prompt_cache_key", CacheKey},
    {"store", Store},
    {"previous_response_id", Kept},
    {"conversation", Kept},
    {"background", Unbuilt},
    {"prompt", Unbuilt},
    {"tools", Unbuilt},
    {"truncation", Truncation},
    {"tool_choice", Ignore},
    {"max_tool_calls", Ignore},
    {"parallel_tool_calls", Ignore},
    {"prompt_cache_retention", Ignore},
    {"metadata", Ignore},
    {"service_tier", Ignore},
};

}  // namespace

std::span<const Field> ResponsesFields() { return kFields; }

}  // namespace thinkwire::router::http
