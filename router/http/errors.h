#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "router/http/message.h"
#include "router/http/reply_form.h"

namespace thinkwire::router::http {

// An error as OpenAI's clients read it: the status by which they decide whether to try again, and
// {"error": {"message", "type", "param", "code"}}. `code` is our ErrorInfo's reason in lower case,
// "model_not_found", "invalid_api_key" and "context_length_exceeded" where clients know those;
// `param` the field, by the name that the client gave it. As Ollama's read it: {"error":
// "message"}.
//
// INVALID_ARGUMENT, OUT_OF_RANGE and UNIMPLEMENTED (a field that is not built) are 400,
// UNAUTHENTICATED 401, PERMISSION_DENIED 403, NOT_FOUND 404, FAILED_PRECONDITION 422,
// RESOURCE_EXHAUSTED 429 (too large a message 413), CANCELLED 499, UNAVAILABLE 503,
// DEADLINE_EXCEEDED 504, all else 500. Ollama's clients know neither 422 nor 429: they are told 400
// and, as when its own queue is full, 503.
struct ErrorReply {
  int status = 500;
  std::string body{};     // the JSON object
  HeaderFields fields{};  // Retry-After, WWW-Authenticate
};

// REQUIRES: an error.
ErrorReply MakeErrorReply(const absl::Status& status, Dialect dialect = Dialect::kOpenAi);

// An error about a message of the chat is about the item that it was in the client's list
// (Asked::item_of). Other errors, and OK, stay as they are.
absl::Status AtClientsItem(const absl::Status& status, std::span<const int> item_of);

// An error of HTTP itself. After 429 there may be room in a second.
ErrorReply MakeErrorReply(int status, const std::string& code, const std::string& message,
                          Dialect dialect = Dialect::kOpenAi);

}  // namespace thinkwire::router::http
