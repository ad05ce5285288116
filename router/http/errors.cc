#include "router/http/errors.h"

#include <array>
#include <chrono>
#include <span>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/rpc/error_metadata.h"
#include "common/rpc/status_details.h"
#include "common/strings.h"
#include "router/http/json_text.h"

namespace thinkwire::router::http {
namespace {

int StatusOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kFailedPrecondition:
      return 422;
    case absl::StatusCode::kResourceExhausted:
      return rpc::ErrorReason(status) == "MESSAGE_TOO_LARGE" ? 413 : 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

std::string_view TypeOf(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

std::string CodeOf(const absl::Status& status) {
  if (absl::IsNotFound(status)) return "model_not_found";
  if (absl::IsUnauthenticated(status)) return "invalid_api_key";
  if (!rpc::ErrorMetadata(status, rpc::kContextTokens).empty()) return "context_length_exceeded";
  return absl::AsciiStrToLower(rpc::ErrorReason(status));
}

// How the fields of a chat's messages begin, by our own name.
constexpr char kMessage[] = "prompt.chat.messages[";

using Names = std::span<const std::pair<std::string_view, std::string_view>>;

// How fields of our own requests begin, and what clients of this door call them; the first that
// fits counts.
constexpr std::array<std::pair<std::string_view, std::string_view>, 13> kOpenAiNames = {{
    {"prompt.chat.", ""},
    {"prompt.chat", "messages"},
    {"prompt.token_ids.ids", "prompt"},
    {"prompt.text", "prompt"},
    {"sampling.stop_strings", "stop"},
    {"answer_sampling.stop_strings", "stop"},
    {"sampling.", ""},
    {"answer_sampling.", ""},
    {"thinking.mode", "reasoning_effort"},
    {"answer_format.json_schema", "response_format.json_schema.schema"},
    {"answer_format", "response_format"},
    {"cache_salt", "prompt_cache_key"},
    {"variant", "model"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kResponsesNames = {{
    {"prompt.chat.messages", "input"},
    {"prompt.chat", "input"},
    {"sampling.stop_strings", "stop"},
    {"answer_sampling.stop_strings", "stop"},
    {"sampling.", ""},
    {"answer_sampling.", ""},
    {"thinking.mode", "reasoning.effort"},
    {"answer_format.json_schema", "text.format.schema"},
    {"answer_format", "text.format"},
    {"max_tokens", "max_output_tokens"},
    {"cache_salt", "prompt_cache_key"},
    {"variant", "model"},
}};
constexpr std::array<std::pair<std::string_view, std::string_view>, 14> kOllamaNames = {{
    {"prompt.chat.messages", "messages"},
    {"prompt.chat", "messages"},
    {"prompt.text", "prompt"},
    {"sampling.stop_strings", "options.stop"},
    {"answer_sampling.stop_strings", "options.stop"},
    {"sampling.repetition_penalty", "options.repeat_penalty"},
    {"sampling.logprobs", "logprobs"},
    {"sampling.top_logprobs", "top_logprobs"},
    {"sampling.", "options."},
    {"thinking.mode", "think"},
    {"answer_format.json_schema", "format"},
    {"answer_format", "format"},
    {"max_tokens", "options.num_predict"},
    {"variant", "model"},
}};

Names NamesOf(Dialect dialect) {
  if (dialect == Dialect::kResponses) return kResponsesNames;
  return dialect == Dialect::kOllama ? Names(kOllamaNames) : Names(kOpenAiNames);
}

std::string Renamed(std::string_view text, Names names) {
  for (const auto& [ours, theirs] : names) {
    if (text.starts_with(ours)) {
      return absl::StrCat(View(theirs), View(text.substr(ours.size())));
    }
  }
  return std::string(text);
}

std::string OpenAiBody(std::string_view message, int status, std::string_view param,
                       std::string_view code) {
  std::string body = R"({"error":{"message":)";
  AppendJsonString(message, &body);
  absl::StrAppend(&body, R"(,"type":")", View(TypeOf(status)), R"(","param":)");
  param.empty() ? body.append("null") : body.append(JsonString(param));
  body += R"(,"code":)";
  code.empty() ? body.append("null") : body.append(JsonString(code));
  return body + "}}";
}

std::string OllamaBody(std::string_view message) {
  return absl::StrCat(R"({"error":)", JsonString(message), "}");
}

int OllamaStatus(int status) {
  if (status == 422) return 400;
  return status == 429 ? 503 : status;
}

std::string FieldOf(const absl::Status& status) {
  return absl::IsNotFound(status) ? "variant" : rpc::ErrorMetadata(status, "field");
}

// Messages about a field begin with its name.
std::string MessageOf(const absl::Status& status, const std::string& field, Names names) {
  const std::string message(status.message());
  if (field.empty() || !absl::StartsWith(message, field)) return message;
  return Renamed(field, names) + message.substr(field.size());
}

}  // namespace

ErrorReply MakeErrorReply(const absl::Status& status, Dialect dialect) {
  const Names names = NamesOf(dialect);
  const std::string field = FieldOf(status);
  const std::string message = MessageOf(status, field, names);
  ErrorReply reply{.status = StatusOf(status)};
  if (dialect == Dialect::kOllama) {
    reply.status = OllamaStatus(reply.status);
    reply.body = OllamaBody(message);
  } else {
    reply.body = OpenAiBody(message, reply.status, Renamed(field, names), CodeOf(status));
  }
  if (const auto delay = rpc::RetryAfter(status)) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(*delay).count();
    reply.fields.emplace_back("Retry-After", absl::StrCat(seconds));
  }
  if (reply.status == 401) reply.fields.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

absl::Status AtClientsItem(const absl::Status& status, std::span<const int> item_of) {
  const std::string field = rpc::ErrorMetadata(status, "field");
  absl::string_view rest = field;
  std::size_t message = 0;
  if (!absl::ConsumePrefix(&rest, kMessage)) return status;
  const std::size_t end = rest.find(']');
  if (!absl::SimpleAtoi(rest.substr(0, end), &message) || message >= item_of.size()) return status;
  const std::string there = absl::StrCat(kMessage, item_of[message], rest.substr(end));
  absl::string_view why = status.message();
  return absl::ConsumePrefix(&why, absl::StrCat(field, " "))
             ? rpc::InvalidField(there, {why.data(), why.size()})
             : status;
}

ErrorReply MakeErrorReply(int status, const std::string& code, const std::string& message,
                          Dialect dialect) {
  const bool ollama = dialect == Dialect::kOllama;
  ErrorReply reply{.status = status,
                   .body = ollama ? OllamaBody(message) : OpenAiBody(message, status, "", code)};
  if (status == 429) reply.fields.emplace_back("Retry-After", "1");
  return reply;
}

}  // namespace thinkwire::router::http
