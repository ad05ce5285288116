#include "router/http/errors.h"

#include <array>
#include <chrono>
#include <string_view>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
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
  return absl::AsciiStrToLower(rpc::ErrorReason(status));
}

// How fields of our own requests begin, and what clients of this door call them; the first that
// fits counts.
constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kNames = {{
    {"prompt.chat.messages", "messages"},
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

std::string Renamed(std::string_view text) {
  for (const auto& [ours, theirs] : kNames) {
    if (text.starts_with(ours)) {
      return absl::StrCat(View(theirs), View(text.substr(ours.size())));
    }
  }
  return std::string(text);
}

std::string Body(std::string_view message, std::string_view type, std::string_view param,
                 std::string_view code) {
  std::string body = R"({"error":{"message":)";
  AppendJsonString(message, &body);
  absl::StrAppend(&body, R"(,"type":")", View(type), R"(","param":)");
  param.empty() ? body.append("null") : body.append(JsonString(param));
  body += R"(,"code":)";
  code.empty() ? body.append("null") : body.append(JsonString(code));
  return body + "}}";
}

std::string FieldOf(const absl::Status& status) {
  return absl::IsNotFound(status) ? "variant" : rpc::ErrorMetadata(status, "field");
}

// Messages about a field begin with its name.
std::string MessageOf(const absl::Status& status, const std::string& field) {
  const std::string message(status.message());
  if (field.empty() || !absl::StartsWith(message, field)) return message;
  return Renamed(field) + message.substr(field.size());
}

}  // namespace

ErrorReply MakeErrorReply(const absl::Status& status) {
  const std::string field = FieldOf(status);
  ErrorReply reply{.status = StatusOf(status)};
  reply.body = Body(MessageOf(status, field), TypeOf(reply.status), Renamed(field), CodeOf(status));
  if (const auto delay = rpc::RetryAfter(status)) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(*delay).count();
    reply.fields.emplace_back("Retry-After", absl::StrCat(seconds));
  }
  if (reply.status == 401) reply.fields.emplace_back("WWW-Authenticate", "Bearer");
  return reply;
}

ErrorReply MakeErrorReply(int status, const std::string& code, const std::string& message) {
  return {.status = status, .body = Body(message, TypeOf(status), "", code)};
}

}  // namespace thinkwire::router::http
