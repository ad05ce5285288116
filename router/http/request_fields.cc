// The fields of requests, a line each: its name as OpenAI's clients, or those of vLLM, SGLang,
// OpenRouter, Groq and DeepSeek, write it, and what it means here.

#include <initializer_list>
#include <string_view>

#include "absl/strings/numbers.h"
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

using read::Budget;
using read::CacheKey;
using read::ChatLogprobs;
using read::Effort;
using read::Ignore;
using read::Model;
using read::Sampled;
using read::Seed;
using read::Stop;
using read::Stream;
using read::Thinks;
using read::TopK;
using read::TopLogprobs;
using read::Unbuilt;
using read::User;
using read::Whole;
using rpc::InvalidField;

absl::Status IncludeUsage(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.asked.form.include_usage, ReadBool(value, name));
  return absl::OkStatus();
}

absl::Status StreamOptions(const Json& value, const std::string& name, Reading& reading) {
  static constexpr Field kFields[] = {{"include_usage", IncludeUsage},
                                      {"include_obfuscation", Ignore},
                                      {"continuous_usage_stats", Unbuilt}};
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kFields, reading);
}

absl::Status StopTokenIds(const Json& value, const std::string& name, Reading& reading) {
  if (!value.is_array() || value.size() > static_cast<std::size_t>(kMaxStopTokenIds)) {
    return InvalidField(name, absl::StrCat("must be a list of at most ", kMaxStopTokenIds, " ids"));
  }
  for (const Json& id : value) {
    ASSIGN_OR_RETURN(const std::int32_t number, ReadInt(id, name));
    reading.sampling().add_stop_token_ids(number);
  }
  return absl::OkStatus();
}

absl::Status LogitBias(const Json& value, const std::string& name, Reading& reading) {
  RETURN_IF_ERROR(CheckObject(value, name));
  if (value.size() > static_cast<std::size_t>(kMaxLogitBiases)) {
    return InvalidField(
        name, absl::StrCat("may hold at most ", kMaxLogitBiases, " ids, holds ", value.size()));
  }
  for (const auto& [key, bias] : value.items()) {
    std::int32_t id = 0;
    // Written in one way alone, so that none is there twice.
    if (!absl::SimpleAtoi(key, &id) || absl::StrCat(id) != key) {
      return InvalidField(name, absl::StrCat("has \"", ShownText(key), "\", which is no token id"));
    }
    ASSIGN_OR_RETURN(const double number, ReadNumber(bias, absl::StrCat(name, ".", id)));
    (*reading.sampling().mutable_logit_bias())[id] = static_cast<float>(number);
  }
  return absl::OkStatus();
}

// A number here: how many alternatives.
absl::Status CompletionLogprobs(const Json& value, const std::string& name, Reading& reading) {
  read::AskForLogprobs(reading);
  return TopLogprobs(value, name, reading);
}

absl::Status ThinkingType(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::string type, ReadText(value, name));
  if (type != "enabled" && type != "disabled" && type != "adaptive" && type != "auto") {
    return InvalidField(name, "must be enabled, disabled or auto");
  }
  reading.thinks = type != "disabled";
  return absl::OkStatus();
}

absl::Status ThinkingObject(const Json& value, const std::string& name, Reading& reading) {
  static constexpr Field kFields[] = {{"type", ThinkingType}, {"budget_tokens", Budget}};
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kFields, reading);
}

absl::Status TemplateArguments(const Json& value, const std::string& name, Reading& reading) {
  static constexpr Field kFields[] = {{"enable_thinking", Thinks}, {"thinking", Thinks}};
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kFields, reading);
}

absl::Status IncludeReasoning(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.shows_reasoning, ReadBool(value, name));
  return absl::OkStatus();
}

absl::Status ExcludeReasoning(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const bool excludes, ReadBool(value, name));
  reading.shows_reasoning = !excludes;
  return absl::OkStatus();
}

absl::Status ReasoningObject(const Json& value, const std::string& name, Reading& reading) {
  static constexpr Field kFields[] = {{"effort", Effort},
                                      {"max_tokens", Budget},
                                      {"exclude", ExcludeReasoning},
                                      {"enabled", Thinks},
                                      {"summary", Ignore}};
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kFields, reading);
}

absl::Status ReasoningFormat(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const std::string format, ReadText(value, name));
  if (format == "hidden") {
    reading.shows_reasoning = false;
  } else if (format == "raw" || format == "none" || format == "inline") {
    reading.form = ReasoningForm::kInline;
  } else if (format == "parsed" || format == "deepseek") {
    reading.form = ReasoningForm::kBoth;
  } else if (format != "auto") {
    return InvalidField(name, "must be parsed, raw or hidden (or deepseek, auto, none, inline)");
  }
  return absl::OkStatus();
}

absl::Status SeparateReasoning(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const bool separate, ReadBool(value, name));
  reading.form = separate ? ReasoningForm::kBoth : ReasoningForm::kInline;
  return absl::OkStatus();
}

// Where the request has none by another name: one of two would be dropped without a word.
absl::StatusOr<v1::AnswerFormat*> NewFormat(const std::string& name, Reading& reading) {
  if (!reading.request().has_answer_format()) return reading.request().mutable_answer_format();
  return InvalidField(name, "must be unset beside another format of the answer");
}

// The schema's own text, as answers keep the order of its properties.
absl::Status ResponseFormat(const Json& value, const std::string& name, Reading& reading) {
  RETURN_IF_ERROR(CheckObject(value, name));
  const Json type = value.value("type", Json());
  if (type == "text") return absl::OkStatus();
  ASSIGN_OR_RETURN(v1::AnswerFormat* const format, NewFormat(name, reading));
  if (type == "json_object") {
    format->set_json_schema(read::kAnyObject);
    return absl::OkStatus();
  }
  if (type != "json_schema") {
    return InvalidField(name + ".type", "must be text, json_object or json_schema");
  }
  const std::string_view schema =
      RawMember(reading.body, {"response_format", "json_schema", "schema"});
  if (schema.empty()) return InvalidField(name + ".json_schema.schema", "is required");
  format->set_json_schema(std::string(schema));
  return absl::OkStatus();
}

absl::Status MaxCompletionTokens(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(reading.max_completion_tokens, ReadInt(value, name));
  return absl::OkStatus();
}

// A number that means nothing where it is `Nothing`, and is not built where it is another.
template <std::int32_t Nothing>
absl::Status UnbuiltNumber(const Json& value, const std::string& name, Reading& /*reading*/) {
  ASSIGN_OR_RETURN(const std::int32_t number, ReadInt(value, name));
  return number == Nothing ? absl::OkStatus() : rpc::UnimplementedField(name);
}

absl::Status GuidedRegex(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(v1::AnswerFormat* const format, NewFormat(name, reading));
  ASSIGN_OR_RETURN(*format->mutable_regex(), ReadText(value, name));
  return absl::OkStatus();
}

absl::Status GuidedChoice(const Json& value, const std::string& name, Reading& reading) {
  if (!value.is_array() || value.size() > static_cast<std::size_t>(kMaxElements)) {
    return InvalidField(name, absl::StrCat("must be a list of at most ", kMaxElements, " texts"));
  }
  ASSIGN_OR_RETURN(v1::AnswerFormat* const format, NewFormat(name, reading));
  for (const Json& choice : value) {
    ASSIGN_OR_RETURN(*format->mutable_choices()->add_choices(), ReadText(choice, name));
  }
  return absl::OkStatus();
}

absl::Status SchemaAt(std::initializer_list<std::string_view> path, const Json& value,
                      const std::string& name, Reading& reading) {
  const bool is_text = value.is_string();  // as vLLM takes it, too
  if (!value.is_object() && !value.is_boolean() && !is_text) {
    return InvalidField(name, "must be a schema, or its text");
  }
  ASSIGN_OR_RETURN(v1::AnswerFormat* const format, NewFormat(name, reading));
  format->set_json_schema(is_text ? value.get<std::string>()
                                  : std::string(RawMember(reading.body, path)));
  return absl::OkStatus();
}

absl::Status GuidedJson(const Json& value, const std::string& name, Reading& reading) {
  return SchemaAt({"guided_json"}, value, name, reading);
}

absl::Status StructuredJson(const Json& value, const std::string& name, Reading& reading) {
  return SchemaAt({"structured_outputs", "json"}, value, name, reading);
}

// vLLM's newer name of all of them.
absl::Status StructuredOutputs(const Json& value, const std::string& name, Reading& reading) {
  static constexpr Field kFields[] = {{"json", StructuredJson}, {"regex", GuidedRegex},
                                      {"choice", GuidedChoice}, {"grammar", Unbuilt},
                                      {"json_object", Unbuilt}, {"structural_tag", Unbuilt}};
  RETURN_IF_ERROR(CheckObject(value, name));
  return ReadMembers(value, name + ".", kFields, reading);
}

absl::Status ContinuesFinalMessage(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const bool continues, ReadBool(value, name));
  if (continues)
    reading.request().mutable_prompt()->mutable_chat()->set_continue_final_message(true);
  return absl::OkStatus();
}

absl::Status IgnoreEos(const Json& value, const std::string& name, Reading& reading) {
  ASSIGN_OR_RETURN(const bool ignores, ReadBool(value, name));
  reading.request().set_ignore_eos(ignores);
  return absl::OkStatus();
}

absl::Status RawPrompt(const Json& value, const std::string& name, Reading& reading) {
  if (value.is_string()) {
    reading.request().mutable_prompt()->set_text(value.get<std::string>());
    return absl::OkStatus();
  }
  const bool of_one_text = value.is_array() && value.size() == 1 && value[0].is_string();
  if (of_one_text) return RawPrompt(value[0], name, reading);
  if (!value.is_array() || value.empty() || !value[0].is_number_integer()) {
    return InvalidField(name, "must be one string, or a list of token ids");
  }
  for (const Json& id : value) {
    ASSIGN_OR_RETURN(const std::int32_t number, ReadInt(id, name));
    reading.request().mutable_prompt()->mutable_token_ids()->add_ids(number);
  }
  return absl::OkStatus();
}

constexpr Field kCommonFields[] = {
    {"model", Model},
    {"stream", Stream},
    {"stream_options", StreamOptions},
    {"temperature", Sampled<&v1::PhaseSampling::set_temperature>},
    {"top_p", Sampled<&v1::PhaseSampling::set_top_p>},
    {"min_p", Sampled<&v1::PhaseSampling::set_min_p>},
    {"top_k", TopK},
    {"repetition_penalty", Sampled<&v1::PhaseSampling::set_repetition_penalty>},
    {"presence_penalty", Sampled<&v1::PhaseSampling::set_presence_penalty>},
    {"frequency_penalty", Sampled<&v1::PhaseSampling::set_frequency_penalty>},
    {"logit_bias", LogitBias},
    {"stop", Stop},
    {"stop_token_ids", StopTokenIds},
    {"ignore_eos", IgnoreEos},
    {"max_tokens", Whole<&v1::GenerateRequest::set_max_tokens>},
    {"n", Whole<&v1::GenerateRequest::set_n>},
    {"seed", Seed},
    {"thinking_token_budget", Budget},
    {"guided_json", GuidedJson},
    {"guided_regex", GuidedRegex},
    {"guided_choice", GuidedChoice},
    {"guided_grammar", Unbuilt},
    {"structured_outputs", StructuredOutputs},
    {"min_tokens", UnbuiltNumber<0>},
    {"use_beam_search", Unbuilt},
    {"prompt_logprobs", Unbuilt},
    {"response_format", ResponseFormat},
    {"user", User},
    {"safety_identifier", User},
    {"prompt_cache_key", CacheKey},
    {"cache_salt", CacheKey},
    {"metadata", Ignore},
    {"store", Ignore},
    {"service_tier", Ignore},
};

constexpr Field kChatFields[] = {
    {"messages", ReadMessages},
    {"max_completion_tokens", MaxCompletionTokens},
    {"logprobs", ChatLogprobs},
    {"top_logprobs", TopLogprobs},
    {"reasoning_effort", Effort},
    {"reasoning", ReasoningObject},
    {"thinking", ThinkingObject},
    {"chat_template_kwargs", TemplateArguments},
    {"enable_thinking", Thinks},
    {"include_reasoning", IncludeReasoning},
    {"reasoning_format", ReasoningFormat},
    {"separate_reasoning", SeparateReasoning},
    {"continue_final_message", ContinuesFinalMessage},
    {"add_generation_prompt", Ignore},
    {"tools", Unbuilt},
    {"functions", Unbuilt},
    {"tool_choice", Ignore},
    {"parallel_tool_calls", Ignore},
    {"modalities", Ignore},
    {"audio", Unbuilt},
    {"web_search_options", Unbuilt},
};

constexpr Field kCompletionFields[] = {
    {"prompt", RawPrompt}, {"logprobs", CompletionLogprobs}, {"echo", Unbuilt},
    {"suffix", Unbuilt},   {"best_of", UnbuiltNumber<1>},
};

}  // namespace

std::span<const Field> CommonFields() { return kCommonFields; }
std::span<const Field> ChatFields() { return kChatFields; }
std::span<const Field> CompletionFields() { return kCompletionFields; }

}  // namespace thinkwire::router::http
